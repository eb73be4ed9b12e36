from pathlib import Path

import pytest

from gateway.catalog.names import Names, settle_ids
from gateway.catalog.scan import Found, Stamp
from gateway.errors import ModelNotFound


def found(model_id: str, long_id: str | None = None) -> Found:
    return Found(model_id, long_id or f"{model_id}.gguf", Path(model_id), Stamp(1, 1))


def names(*models: Found, **aliases: str) -> Names:
    return Names(settle_ids(models), aliases)


@pytest.mark.parametrize("name", ["org/Tiny", "ORG/tiny", "tiny", "TINY", "org/tiny.gguf"])
def test_names_of_a_model(name):
    """Any case, the last component alone, and the suffix left on."""
    assert names(found("org/Tiny"), found("other")).find(name) == "org/Tiny"


@pytest.mark.parametrize("name", ["", "org", "org/", "/org/tiny", "../org/tiny", "tin", "t\0"])
def test_anything_else_is_unknown(name):
    """Names are compared and never interpreted."""
    with pytest.raises(ModelNotFound):
        names(found("org/tiny")).find(name)


def test_a_last_component_of_two_models_names_neither():
    """The error says which it could be."""
    with pytest.raises(ModelNotFound, match="a/m, b/m"):
        names(found("a/m"), found("b/m")).find("m")


def test_a_whole_id_wins_over_a_last_component():
    """`m` at the root is itself, whatever else is called m further down."""
    assert names(found("m"), found("a/m")).find("M") == "m"


def test_case_decides_between_ids_that_differ_in_nothing_else():
    """Some file systems tell them apart, so we do too where we must."""
    table = names(found("m"), found("M"))

    assert (table.find("m"), table.find("M")) == ("m", "M")


def test_a_file_beside_a_folder_of_its_name_keeps_its_suffix():
    """Two checkpoints never share an id; the longer one still works."""
    table = names(found("org/m"), found("org/m", "org/m/"))

    assert table.find("org/m") == "org/m"
    assert table.find("org/m.gguf") == "org/m.gguf"


def test_aliases():
    """An alias leads to a model by any of its names, never to another alias or itself."""
    table = names(found("org/tiny"), fast="TINY", loop="loop", chain="fast", tiny="nothing")

    assert table.find("Fast") == "org/tiny"
    assert table.find("tiny") == "org/tiny"
    for name in ("loop", "chain"):
        with pytest.raises(ModelNotFound):
            table.find(name)
