import pytest
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

from engine.checkpoint.ggml_types import REMOVED_TYPES, TYPES_BY_ID


@pytest.mark.parametrize("kind", GGMLQuantizationType)
def test_the_table_agrees_with_gguf(kind: GGMLQuantizationType):
    """Names, ids and block sizes are those of gguf-py's table."""
    entry = TYPES_BY_ID[kind]
    block_size, block_bytes = GGML_QUANT_SIZES[kind]
    if kind is GGMLQuantizationType.Q8_1:
        block_bytes = 36  # gguf-py still has two float32 there; ggml's block_q8_1 has two float16

    assert (entry.name, entry.block_size, entry.block_bytes) == (kind.name, block_size, block_bytes)


def test_every_id_is_known_or_removed():
    """No id below the newest is left without an answer."""
    assert not TYPES_BY_ID.keys() & REMOVED_TYPES.keys()
    assert sorted(TYPES_BY_ID.keys() | REMOVED_TYPES.keys()) == list(range(43))
