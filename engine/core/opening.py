"""From a checkpoint on disk to a model that can run."""

from collections.abc import Callable
from pathlib import Path

import torch

from engine.api import Form, LoadReport
from engine.cache.views import CacheSize, allocate
from engine.checkpoint import open_checkpoint
from engine.core.resident import BLOCK_SIZE, Resident
from engine.residency.loader import load


def open_resident(
    path: Path,
    form: Form,
    dtype: torch.dtype,
    kv_tokens: int | None,
    *,
    progress: Callable[[float], None] = lambda _: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> tuple[Resident, LoadReport]:
    """Loads the weights and makes room for `kv_tokens`, by default the model's context.

    Blocks until done. Raises what `open_checkpoint` and `load` raise, and the allocator's errors.
    The report's seconds are left at 0: who waits measures.
    """
    with open_checkpoint(path) as checkpoint:
        model = load(checkpoint, form, dtype, progress, cancelled)
    num_blocks = max(1, (kv_tokens or model.context_length) // BLOCK_SIZE)
    size = CacheSize(num_blocks, BLOCK_SIZE, num_slots=0)
    caches = [allocate(spec, size, dtype) for spec in model.cache_specs]
    kv_bytes = sum(cache.nbytes for cache in caches)
    return Resident(model, caches, num_blocks), LoadReport(model.weights_bytes, kv_bytes, 0.0)
