import gguf
import pytest

from engine.checkpoint import open_checkpoint
from engine.models.file_types import _FILE_TYPES, quantization
from tests.engine.fixture_models import Variant, variants


@pytest.mark.parametrize("variant", variants("llama-q", "gemma3-q"), ids=str)
def test_the_label_is_that_of_the_file_s_name(variant: Variant):
    """What the quantiser called it."""
    with open_checkpoint(variant.path) as checkpoint:
        assert quantization(checkpoint) == variant.path.stem.removeprefix(f"{variant.model}-")


def test_types_are_those_of_llama_cpp():
    """The table agrees with gguf-py's."""
    theirs = {
        int(kind): kind.name.removeprefix("MOSTLY_").removeprefix("ALL_")
        for kind in gguf.LlamaFileType
        if kind.name != "GUESSED"
    }
    shared = theirs.keys() & _FILE_TYPES.keys()

    assert len(shared) > 30
    assert {key: _FILE_TYPES[key] for key in shared} == {key: theirs[key] for key in shared}
