from pathlib import Path

import pytest

from gateway.catalog.stores.places import stores_of
from gateway.config import Discovery

HOME = Path("/home/somebody")


def folders(discovery: Discovery, environ: dict[str, str] | None = None) -> list[str]:
    return [str(store.folder) for store in stores_of(discovery, environ or {}, HOME)]


def test_nothing_is_looked_for_unless_asked():
    """A server offers what it was given."""
    assert folders(Discovery()) == []


@pytest.mark.parametrize(
    ("name", "variable", "folder"),
    [
        ("huggingface", "HF_HUB_CACHE", "/data"),
        ("huggingface", "HF_HOME", "/data/hub"),
        ("llamacpp", "LLAMA_CACHE", "/data"),
        ("ollama", "OLLAMA_MODELS", "/data"),
    ],
)
def test_each_programs_own_variable_counts(name, variable, folder):
    """Who moved a store did so with that."""
    assert folders(Discovery(stores=[name]), {variable: "/data"}) == [folder]


def test_a_folder_that_was_set_wins():
    """Over the variable as well, and over every default."""
    discovery = Discovery(stores=["ollama"], folders={"ollama": Path("/mine")})

    assert folders(discovery, {"OLLAMA_MODELS": "/data"}) == ["/mine"]


def test_auto_is_all_of_them():
    """Once each, also if one is named beside it."""
    stores = stores_of(Discovery(stores=["lmstudio", "auto"]), {}, HOME)

    assert list(dict.fromkeys(store.name for store in stores)) == [
        "huggingface",
        "llamacpp",
        "ollama",
        "lmstudio",
    ]
