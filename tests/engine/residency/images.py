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
    with open_checkpoint(path) as checkpoint:
        return open_image(checkpoint, dtype, store, **watch)


def kept(folder: Path, suffix: str = "") -> list[str]:
    return sorted(path.name for path in folder.glob(f"*{suffix}"))
