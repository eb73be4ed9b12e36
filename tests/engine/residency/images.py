"""Images of the tiny models, for tests."""

from pathlib import Path
from typing import Any

import pytest
import torch

from engine.checkpoint import open_checkpoint
from engine.kernels.cpu.library import is_available
from engine.nn.decoder import CausalLM
from engine.residency.image import Image, open_image
from engine.residency.image_store import ImageStore
from tests.engine.fixture_models import COMMITTED

QUANTISED = COMMITTED / "llama-q/llama-q-Q4_K_M.gguf"

needs_native = pytest.mark.skipif(not is_available(), reason="the native library is not built")


def opened(
    path: Path, store: ImageStore, dtype: torch.dtype = torch.float32, **watch: Any
) -> tuple[CausalLM, Image]:
    """The model, once its image is on the disk."""
    with open_checkpoint(path) as checkpoint:
        opened_image = open_image(checkpoint, dtype, store, **watch)
    store.wait()
    return opened_image


class PatientStore(ImageStore):
    """Its loads wait until what they built is on the disk."""

    def get(self, *args: Any, **kwargs: Any) -> Any:
        found = super().get(*args, **kwargs)
        self.wait()
        return found


def kept(folder: Path, suffix: str = "") -> list[str]:
    return sorted(path.name for path in folder.glob(f"*{suffix}"))


def cut_into_blocks(monkeypatch, nbytes):
    """What is made and written at once, of images that are smaller than one such block."""
    for module in ("image_rows", "image_build"):
        monkeypatch.setattr(f"engine.residency.{module}.BLOCK_BYTES", nbytes)
