"""Checkpoints in float16, where bfloat16 is computed with."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from engine.checkpoint import open_checkpoint
from engine.kernels.weight import Weight
from engine.models.blueprint import blueprint
from engine.models.tiling import tiled_weights_bytes
from engine.nn.module import parameters
from engine.residency.image_store import ImageStore
from engine.residency.loader import load
from tests.engine.fixture_models import COMMITTED, hf_copy
from tests.engine.residency.images import needs_native, opened

pytestmark = needs_native

MODELS = ("llama-plain", "mixtral-moe", "ernie45-dense")
"""One by one, stacks of experts, and rows that change their places."""


def halved(folder: Path, model: str) -> Path:
    stored = load_file(COMMITTED / model / "hf/model.safetensors")
    return hf_copy(folder, model, tensors={name: each.half() for name, each in stored.items()})


@pytest.mark.parametrize("model", MODELS)
def test_matrices_stay_in_float16(tmp_path, model: str):
    """To the bit, in as many bytes as bfloat16 would take; all else is as it was."""
    path = halved(tmp_path, model)
    with open_checkpoint(path) as checkpoint:
        foreseen = tiled_weights_bytes(blueprint(checkpoint), torch.bfloat16)
        expected = load(checkpoint, "dense", torch.float32, lambda _: None, lambda: False)
    found, _ = opened(path, ImageStore(None), torch.bfloat16)
    pairs = zip(parameters(found), parameters(expected), strict=True)
    matrices = {
        ours.path: (ours.get(), theirs.get())
        for ours, theirs in pairs
        if isinstance(theirs.get(), Weight) and not ours.slot.wide
    }

    assert len(matrices) > 10
    for name, (kept, exact) in matrices.items():
        assert (kept.format, kept.dtype) == ("tiled:F16", torch.bfloat16), name
        assert torch.equal(kept.unpack(torch.float32), exact.data), name
    assert found.weights_bytes == foreseen


def test_float32_is_rounded_to_what_is_computed_with(tmp_path):
    """Only float16 itself is no larger for being kept."""
    found, _ = opened(hf_copy(tmp_path, "llama-plain"), ImageStore(None), torch.bfloat16)

    assert found.model.layers[0].mlp.up_proj.weight.format == "tiled:BF16"
