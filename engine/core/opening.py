"""From opened weights to a model that can run."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from engine.api import Form, LoadReport
from engine.cache.caches import Caches
from engine.cache.spec import CacheSpec, KVDType, stored
from engine.cache.views import CacheSize
from engine.checkpoint import open_checkpoint
from engine.core.programs import ProgrammedModel
from engine.core.resident import BLOCK_SIZE, Resident
from engine.core.runner import LanguageModel
from engine.core.weights import Opened, Weights
from engine.models.card import describe
from engine.residency.image_store import ImageStore

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
    kv_dtype: KVDType = "auto",
    speculate: int = 0,
    progress: Callable[[float], None] = lambda _: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> tuple[Resident, LoadReport]:
    """Loads the weights and makes room for `kv_tokens`, by default the model's context.

    state_slots: and for so many states, of sequences that run and kept for reuse, if it has any.
    images: where those of the tiled form are kept; without, they are built anew each time.
    kv_dtype: what keys and values are kept in. speculate: tokens that sequences guess ahead at most.
    Blocks until done. Raises what `Weights.open` raises, and the allocator's errors.
    The report's seconds are left at 0: who waits measures.
    """
    weights = Weights(dtype, images or ImageStore(None), warm_bytes=0)
    opened = weights.open(path, form, progress, cancelled)
    size = cache_size(
        opened.model.cache_specs, kv_tokens or opened.model.context_length, state_slots
    )
    specs = [stored(spec, kv_dtype) for spec in opened.model.cache_specs]
    caches = Caches.of(specs, size, dtype)
    model = runnable(opened, caches)
    workspace = workspace_of(model, opened, path, form, dtype)
    return Resident(model, caches, speculate=speculate), report_of(opened, caches, workspace)


def runnable(opened: Opened, caches: Caches) -> LanguageModel:
    """The model as a program over these caches, if it runs natively."""
    if opened.tape is None:
        return opened.model
    return ProgrammedModel(opened.model, opened.tape, caches.views)


def report_of(opened: Opened, caches: Caches, workspace_bytes: int) -> LoadReport:
    """What a load took; its seconds are left at 0."""
    return LoadReport(
        weights_bytes=opened.weights_bytes,
        kv_bytes=caches.token_bytes,
        seconds=0.0,
        state_bytes=caches.state_bytes,
        workspace_bytes=workspace_bytes,
        tier=opened.tier,
        phases=dict(opened.phases),
    )


def workspace_of(
    model: LanguageModel, opened: Opened, path: Path, form: Form, dtype: torch.dtype
) -> int:
    """A program's values and at most what its operations use; of others what the card says."""
    if isinstance(model, ProgrammedModel):
        return model.workspace_bytes + opened.operation_bytes
    with open_checkpoint(path) as checkpoint:
        footprints = describe(checkpoint, dtype, native=False).footprints
    found = [each.workspace_bytes for each in footprints if each.form == form]
    return found[0] if found else footprints[0].workspace_bytes


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
