import os

import torch

from engine.checkpoint import open_checkpoint
from engine.residency.outline import Outline, Outlines, outline_of
from tests.engine.fixture_models import gguf_copy
from tests.engine.residency.images import needs_native

pytestmark = needs_native


def outlined(path, dtype: torch.dtype = torch.float32) -> Outline:
    with open_checkpoint(path) as checkpoint:
        return outline_of(checkpoint, dtype)


def test_no_more_are_kept_than_the_limit(tmp_path):
    """Those used longest ago go."""
    outlines = Outlines(limit=2)
    paths = [gguf_copy(tmp_path / f"{name}.gguf", "llama-plain") for name in "abc"]
    for path in paths[:2]:
        outlines.keep(outlined(path))
    outlines.find(paths[0], torch.float32)
    outlines.keep(outlined(paths[2]))

    assert len(outlines) == 2
    assert outlines.find(paths[0], torch.float32) is not None
    assert outlines.find(paths[1], torch.float32) is None


def test_one_of_a_changed_file_is_forgotten(tmp_path):
    """It would describe another model."""
    path = gguf_copy(tmp_path / "model.gguf", "llama-plain")
    outlines = Outlines()
    outlines.keep(outlined(path))
    os.utime(path, ns=(0, 0))

    assert outlines.find(path, torch.float32) is None
    assert len(outlines) == 0


def test_dtypes_have_their_own(tmp_path):
    """Layouts differ."""
    path = gguf_copy(tmp_path / "model.gguf", "llama-plain")
    outlines = Outlines()
    outlines.keep(outlined(path, torch.bfloat16))

    assert outlines.find(path, torch.float32) is None
    assert outlines.find(path, torch.bfloat16) is not None
