"""From a checkpoint on disk to a model that can run."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from engine.api import Form, LoadReport
from engine.cache.spec import CacheSpec
from engine.cache.views import CacheSize, allocate, state_bytes
from engine.checkpoint import open_checkpoint
from engine.core.programs import ProgrammedModel
from engine.core.resident import BLOCK_SIZE, Resident
from engine.core.runner import LanguageModel
from engine.models.blueprint import blueprint
from engine.models.card import tape_of
from engine.residency.image import open_image
from engine.residency.image_store import ImageStore
from engine.residency.loader import load

STATE_SLOTS = 16
"""By default: half as many sequences at once as of a model that keeps tokens, in little memory."""


def open_resident(
    path: Path,
    form: Form,
    dtype: torch.dtype,
    kv_tokens: int | None,
    state_slots: int = STATE_SLOTS,
    *,
    images: ImageStore | None = None,
    progress: Callable[[float], None] = lambda _: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> tuple[Resident, LoadReport]:
    """Loads the weights and makes room for `kv_tokens`, by default the model's context.

    state_slots: and for so many states, of sequences that run and kept for reuse, if it has any.
    images: where those of the tiled form are kept; without, they are built anew each time.
    Blocks until done. Raises what `open_checkpoint` and `load` raise, and the allocator's errors.
    The report's seconds are left at 0: who waits measures.
    """
    tape = None
    with open_checkpoint(path) as checkpoint:
        if form == "tiled":
            tape = tape_of(blueprint(checkpoint).model, dtype)
            store = images or ImageStore(None)
            model, _ = open_image(checkpoint, dtype, store, progress, cancelled)
        else:
            model = load(checkpoint, form, dtype, progress, cancelled)
    size = cache_size(model.cache_specs, kv_tokens or model.context_length, state_slots)
    caches = [allocate(spec, size, dtype) for spec in model.cache_specs]
    states = sum(state_bytes(cache) for cache in caches)
    tokens = sum(cache.nbytes for cache in caches) - states
    report = LoadReport(model.weights_bytes, tokens, 0.0, states)
    runs: LanguageModel = model if tape is None else ProgrammedModel(model, tape, caches)
    return Resident(runs, caches, size.num_blocks, size.num_slots), report


def cache_size(specs: Sequence[CacheSpec], kv_tokens: int, state_slots: int) -> CacheSize:
    """Room for whatever kinds of things the layers keep, at least for something of each."""
    num_blocks = max(1, kv_tokens // BLOCK_SIZE)
    keeps_tokens = any(spec.bytes_per_token(1) for spec in specs)
    keeps_states = any(spec.bytes_per_sequence for spec in specs)
    return CacheSize(
        num_blocks if keeps_tokens else 0,
        BLOCK_SIZE,
        max(1, state_slots) if keeps_states else 0,
    )
