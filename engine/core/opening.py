"""From opened weights to a model that can run."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from engine.api import Form, LoadReport
from engine.cache.caches import Caches
from engine.cache.spec import CacheSpec, KVDType, stored
from engine.cache.views import CacheSize
from engine.checkpoint import open_checkpoint
from engine.core.device_model import DeviceModel
from engine.core.device_weights import DeviceWeights
from engine.core.kept_caches import DeviceCaches, HostCaches, KeptCaches
from engine.core.parking import CacheKey
from engine.core.programs import ProgrammedModel
from engine.core.resident import BLOCK_SIZE, Resident
from engine.core.runner import LanguageModel
from engine.core.weights import ModelWeights, Opened, Weights
from engine.devices import Accelerator
from engine.models.card import CACHE_UNITS, describe
from engine.models.planes import UNIT
from engine.residency.arena import Arena
from engine.residency.image_store import ImageStore
from engine.residency.ring import PinnedRing

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
    accelerator: Accelerator | None = None,
    progress: Callable[[float], None] = lambda _: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> tuple[Resident, LoadReport]:
    """Loads the weights and makes room for `kv_tokens`, by default the model's context.

    state_slots: and for so many states, of sequences that run and kept for reuse, if it has any.
    images: where those of the tiled form are kept; without, they are built anew each time.
    kv_dtype: what keys and values are kept in. speculate: tokens that sequences guess ahead at most.
    accelerator: None for the CPU; the form is "planes" on it, and what the model needs of its memory
    is its own as long as there is the resident.
    Blocks until done. Raises what `Weights.open` raises, and the allocator's errors.
    The report's seconds are left at 0: who waits measures.
    """
    images = images or ImageStore(None)
    if accelerator is None:
        weights: ModelWeights = Weights(dtype, images, warm_bytes=0)
        kept: KeptCaches = HostCaches(0)
    else:
        arena = Arena(accelerator, _needed(path, dtype, kv_dtype, kv_tokens, state_slots))
        ring = PinnedRing(accelerator)
        weights = DeviceWeights(arena, ring, dtype, images, warm_bytes=0)
        kept = DeviceCaches(arena, ring, 0)
    opened = weights.open(path, form, progress, cancelled)
    size = cache_size(
        opened.model.cache_specs, kv_tokens or opened.model.context_length, state_slots
    )
    specs = [stored(spec, kv_dtype) for spec in opened.model.cache_specs]
    caches, _ = kept.open(0, key := CacheKey(opened.key, size, dtype, kv_dtype), key, specs)
    model = runnable(opened, caches, accelerator)
    workspace = workspace_of(model, opened, path, form, dtype)
    return Resident(model, caches, speculate=speculate), report_of(opened, caches, workspace)


def _needed(
    path: Path, dtype: torch.dtype, kv_dtype: KVDType, kv_tokens: int | None, state_slots: int
) -> int:
    """Bytes of a device: of weights and caches, each in whole units."""
    with open_checkpoint(path) as checkpoint:
        card = describe(checkpoint, dtype, kv_dtype=kv_dtype, kinds=("cuda",), device_dtype=dtype)
    (footprint,) = card.footprints
    caches = footprint.total(kv_tokens or card.context_length, state_slots)
    return caches - footprint.workspace_bytes + CACHE_UNITS * UNIT


def runnable(
    opened: Opened, caches: Caches, accelerator: Accelerator | None = None
) -> LanguageModel:
    """The model as a program over these caches, if it runs natively or on an accelerator."""
    if opened.tape is None:
        return opened.model
    if accelerator is not None:
        return DeviceModel(opened.model, opened.tape, caches.views, opened.arrivals, accelerator)
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
    if form == "planes":
        return opened.operation_bytes
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
