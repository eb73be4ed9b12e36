from pathlib import Path

import pytest

from gateway.catalog.names import Names, presets_of, settle_ids
from gateway.catalog.stores import Store, find_models
from gateway.errors import ModelNotFound

LIBRARY = "registry.ollama.ai/library"


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def test_the_models_folder_has_the_name(tmp_path, ollama):
    """What a store calls the same goes by its longer name."""
    put(tmp_path / "models" / "llama3.2.gguf")
    ollama.add(f"{LIBRARY}/llama3.2/latest", {"model": b"GGUF"})

    ids = settle_ids(find_models(tmp_path / "models", [Store("ollama", ollama.root)]))

    assert {model_id: found.source for model_id, found in ids.items()} == {
        "llama3.2": "models",
        "llama3.2:latest": "ollama",
    }


def test_stores_that_agree_on_every_name_are_told_apart(tmp_path):
    """The first keeps the name; the second has its store's name before the long one."""
    for store in ("one", "two"):
        put(tmp_path / store / "org" / "m" / "m-Q4_0.gguf")
    stores = [Store("lmstudio", tmp_path / "one"), Store("lmstudio", tmp_path / "two")]

    assert list(settle_ids(find_models(tmp_path / "none", stores))) == [
        "org/m:Q4_0",
        "org/m:m-Q4_0",
    ]


def test_a_model_that_was_linked_in_is_one(tmp_path, huggingface):
    """It was put into the models folder to have that name."""
    snapshot = huggingface.add("org/name", "m-Q4_0.gguf")
    models = tmp_path / "models"
    models.mkdir()
    (models / "mine.gguf").symlink_to(snapshot / "m-Q4_0.gguf")

    found = find_models(models, [Store("huggingface", huggingface.root)])

    assert [model.id for model in found] == ["mine"]


def test_a_tag_need_not_be_said_where_there_is_one(tmp_path, huggingface):
    """Neither the organisation; of two tags, one has to be said."""
    huggingface.add("org/name", "m-Q4_0.gguf")
    found = find_models(tmp_path / "none", [Store("huggingface", huggingface.root)])
    names = Names(settle_ids(found), {})

    for name in ("org/name", "NAME", "name:q4_0", "org/name:m-Q4_0"):
        assert names.find(name) == "org/name:Q4_0"


def test_a_folder_of_the_models_folder_is_a_repository_too(tmp_path):
    """So that what was pulled is asked for as it was pulled."""
    for name in ("m-Q4_0.gguf", "m-UD-Q8_K_XL.gguf"):
        put(tmp_path / "org" / "name-GGUF" / name)
    names = Names(settle_ids(find_models(tmp_path, [])), {})

    assert names.find("org/name-GGUF:Q4_0") == "org/name-GGUF/m-Q4_0"
    assert names.find("name-gguf:ud-q8_k_xl") == "org/name-GGUF/m-UD-Q8_K_XL"
    with pytest.raises(ModelNotFound, match="UD-Q8_K_XL"):
        names.find("org/name-GGUF")


def test_presets_follow_the_name_that_a_model_came_to_have(tmp_path, ollama):
    """Ollama's parameters are of its own model, not of the folder's that has the name."""
    put(tmp_path / "models" / "m.gguf")
    ollama.add(f"{LIBRARY}/m/latest", {"model": b"GGUF", "params": b'{"top_k": 5}'})
    ids = settle_ids(find_models(tmp_path / "models", [Store("ollama", ollama.root)]))

    presets = presets_of(ids)

    assert list(presets) == ["m:latest"]
    assert presets["m:latest"].model == "m:latest"


def test_a_store_that_is_not_there_has_nothing(tmp_path):
    """Programs may be installed later; until then their folders are missing."""
    names = ("huggingface", "llamacpp", "ollama", "lmstudio")

    assert find_models(tmp_path, [Store(name, tmp_path / "none") for name in names]) == []
