from pathlib import Path

import gguf
import numpy as np
import pytest
from folders import room_for
from model_files import SHAPES, Made, is_about
from random_weights import vocabulary, write_gguf
from recurrent_shapes import mamba2, rwkv7
from shapes import llama, qwen3moe

from engine.checkpoint import open_checkpoint
from engine.models.blueprint import blueprint

TINY = {
    "llama": llama(num_layers=1, hidden=64, wide=96, heads=(4, 2), vocab=320, theta=1e4),
    "moe": qwen3moe(
        num_layers=1, hidden=64, heads=(4, 2), experts=(4, 2), expert_wide=32, vocab=320
    ),
    "mamba2": mamba2(1, 64, state=16, head_dim=16, vocab=320),
    "rwkv7": rwkv7(2, 128, vocab=320),
}


@pytest.mark.parametrize("name", TINY)
def test_made_file_is_a_model(name: str, tmp_path: Path) -> None:
    """Every tensor and key that a family of ours needs is there, and nothing else."""
    path = tmp_path / "tiny.gguf"
    write_gguf(path, name, TINY[name])

    with open_checkpoint(path) as checkpoint:
        plan = blueprint(checkpoint)

        assert plan.model.vocab_size == 320


def test_made_weights_are_finite_and_keep_the_size_of_inputs(tmp_path: Path) -> None:
    """A row of a matrix times normal inputs is about as large as an input."""
    path = tmp_path / "tiny.gguf"
    write_gguf(path, "tiny", TINY["llama"])

    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
    stored = tensors["blk.0.ffn_down.weight"]
    values = gguf.quants.dequantize(stored.data, stored.tensor_type)

    assert values.shape == (64, 96)
    assert np.isfinite(values).all()
    assert np.linalg.norm(values, axis=1).mean() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    ("shape", "millions"), [("1b", 1100), ("3b", 3213), ("moe", 1549), ("mamba2-130m", 129)]
)
def test_shapes_have_the_published_size(shape: str, millions: int) -> None:
    """The shape of a known model has its number of parameters."""
    assert round(SHAPES[shape]().num_parameters / 1e6) == millions


def test_vocabulary_has_no_token_twice() -> None:
    """Tokenizers are built from it as from a real one."""
    assert len(set(vocabulary(1000))) == 1000


def test_unknown_name_says_what_there_is() -> None:
    """A typing error ends in a list, not in a traceback."""
    with pytest.raises(SystemExit, match="SHAPE-FORMAT of 1b"):
        Made.named("2b-q4_0")


def test_size_is_checked_roughly() -> None:
    """A file of another shape or a truncated one is made again."""
    assert is_about(680_000_000, 673_000_000)
    assert not is_about(300_000_000, 673_000_000)


def test_oldest_files_make_room(tmp_path: Path) -> None:
    """What is kept stays bounded, and what was used last stays."""
    import os

    for age, name in enumerate(("new", "middle", "old")):
        path = tmp_path / f"{name}.gguf"
        path.write_bytes(bytes(100))
        os.utime(path, (1000 - age, 1000 - age))

    room_for(50, limit_bytes=260, folder=tmp_path)

    assert {path.stem for path in tmp_path.iterdir()} == {"new", "middle"}
