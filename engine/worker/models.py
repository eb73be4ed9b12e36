"""What models have beside the step loop: their weights, and caches that nothing runs on."""

import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import msgspec
import structlog
import torch

from engine.api import DeviceStats, EngineError, HostMemory, LoadOrder, LoadReport
from engine.cache.caches import Caches
from engine.cache.spec import KVDType, stored
from engine.core.counts import ModelCounts
from engine.core.device import compute_dtype
from engine.core.device_weights import DeviceWeights
from engine.core.failures import must_end
from engine.core.kept_caches import DeviceCaches, HostCaches, KeptCaches
from engine.core.opening import cache_size, report_of, runnable, workspace_of
from engine.core.parking import DEFAULT_SHARE, CacheKey
from engine.core.ranks import Ranks
from engine.core.runner import LanguageModel
from engine.core.weights import ModelWeights, Opened, Weights
from engine.devices import Accelerator
from engine.models.card import DEVICE_WORKSPACE_BYTES
from engine.nn.module import join
from engine.residency.arena import Arena
from engine.residency.host_memory import available_bytes
from engine.residency.image_store import ImageStore
from engine.residency.ring import PinnedRing
from engine.worker.memory import Unreclaimed

log = structlog.get_logger()


class Models:
    """By handle. Load threads open, the step loop parks, and others close: any thread may call.

    dtype, kv_dtype: for orders that leave them open. device_bytes: what may be used of the device. accelerator: None for the CPU. arena: of a device,
    what its models are given. on_lost: called when the device answers nothing any more.
    """

    def __init__(
        self,
        dtype: torch.dtype,
        images: ImageStore,
        host: HostMemory,
        device_bytes: int,
        kv_dtype: KVDType = "auto",
        *,
        accelerator: Accelerator | None = None,
        on_lost: Callable[[], None] = lambda: None,
    ) -> None:
        parked_bytes = host.parked_bytes
        if parked_bytes is None:
            parked_bytes = device_bytes // DEFAULT_SHARE
        self._dtype, self._kv_dtype, self._accelerator = dtype, kv_dtype, accelerator
        self._on_lost = on_lost
        self.arena: Arena | None = None
        self._weights: ModelWeights
        self._caches: KeptCaches
        if accelerator is None:
            self._weights = Weights(dtype, images, host.warm_bytes)
            self._caches = HostCaches(parked_bytes)
        else:
            if host.parked_bytes is None:
                most = available_bytes() // (DEFAULT_SHARE * host.shares)
                parked_bytes = min(parked_bytes, most)
            self.arena = Arena(accelerator, device_bytes - DEVICE_WORKSPACE_BYTES)
            ring = PinnedRing(accelerator)
            self._weights = DeviceWeights(
                self.arena, ring, dtype, images, host.warm_bytes, shares=host.shares
            )
            self._caches = DeviceCaches(self.arena, ring, parked_bytes)
        self._opened: dict[int, Opened] = {}
        self._keys: dict[int, CacheKey] = {}  # also of those whose weights are let go of
        self._parts: set[int] = set()
        self._counts: defaultdict[str, ModelCounts] = defaultdict(ModelCounts)
        self._unreclaimed = Unreclaimed()

    def open(
        self,
        order: LoadOrder,
        progress: Callable[[float], None],
        cancelled: Callable[[], bool],
        take_time: Callable[[], None] = lambda: None,
        *,
        ranks: Ranks | None = None,
    ) -> tuple[LanguageModel, Caches, LoadReport]:
        """A model with what was parked of it, or empty caches. It must be closed, even if this raises.

        progress, cancelled, take_time: as in `Weights.open`. ranks: of which this is to be one; they
        are still to meet. Raises what `Weights.open` raises, the allocator's errors, and `EngineError`
        for an order to resume what is not the same any more.
        """
        try:
            return self._open(order, progress, cancelled, take_time, ranks)
        except Exception as error:
            self._end_if_lost(error)
            raise

    def _open(
        self,
        order: LoadOrder,
        progress: Callable[[float], None],
        cancelled: Callable[[], bool],
        take_time: Callable[[], None],
        ranks: Ranks | None,
    ) -> tuple[LanguageModel, Caches, LoadReport]:
        path = Path(order.path)
        shard = None if ranks is None else ranks.shard
        dtype = self._dtype if order.dtype == "auto" else compute_dtype(order.dtype)
        opened = self._weights.open(
            *(path, order.form, progress, cancelled, take_time), shard=shard, dtype=dtype
        )
        self._opened[order.handle] = opened
        if ranks is not None:
            self._parts.add(order.handle)
            join(opened.model, ranks.group)
        started = time.perf_counter()
        caches = self._caches_for(order, opened, dtype)
        model = runnable(opened, caches, self._accelerator)
        opened.phases["program"] = time.perf_counter() - started
        workspace = workspace_of(model, opened, path, order.form, dtype)
        return model, caches, report_of(opened, caches, workspace)

    def is_paused(self, handle: int) -> bool:
        """Its weights were let go of, and it may be resumed."""
        return handle in self._keys and handle not in self._opened

    def park(self, handle: int, caches: Caches | None, *, is_paused: bool) -> list[Caches]:
        """Keeps the caches of a model that was paused or drained, if they fit; gives what did not.

        No sequence holds anything of what is drained. caches: of a model that was paused before,
        None; then those that it left here are kept like any other's.
        """
        key = self._keys.get(handle)
        if handle in self._parts:
            # the other ranks' caches would have to stay and to go with it
            self._parts.discard(handle)
            if not is_paused:
                self._keys.pop(handle, None)
            is_here = caches is not None and self._accelerator is None  # else closing frees them
            return [caches] if caches is not None and is_here else []
        if is_paused:
            return (
                [] if key is None or caches is None else self._caches.park(handle, handle, caches)
            )
        self._keys.pop(handle, None)
        if key is None:
            return []
        if caches is None:
            return self._caches.drain(handle, key)
        return self._caches.park(handle, key, caches)

    def forget(self, handle: int) -> None:
        """Lets go of what is kept of a model that could not be loaded."""
        self._keys.pop(handle, None)
        self._parts.discard(handle)
        self._caches.forget(handle)

    def close(self, handle: int) -> bool:
        """Its weights are not needed any more; the caller has let go of everything else.

        Whether weights were let go of: not those that stay warm.
        """
        opened = self._opened.pop(handle, None)
        try:
            self._caches.close(handle)
            return opened is not None and self._weights.close(opened)
        except Exception as error:  # of a device that is lost
            log.exception("model_not_closed", handle=handle)
            self._end_if_lost(error)
            return True

    def counts_of(self, path: str) -> ModelCounts:
        """What is counted of a checkpoint, in whichever residence."""
        return self._counts[path]

    def look_at_memory(self) -> None:
        """Sees what the process still holds, if no model is here: nothing else says what it is for."""
        if not self._opened and self._accelerator is None:  # a device's driver keeps what it likes
            kept = self._weights.warm_bytes + self._caches.num_bytes
            self._unreclaimed.look(kept)

    def counted(self, stats: DeviceStats) -> DeviceStats:
        """With what host memory is used for now."""
        return msgspec.structs.replace(
            stats,
            warm_models=self._weights.warm_models,
            warm_bytes=self._weights.warm_bytes,
            parked_models=self._caches.num_models,
            parked_bytes=self._caches.num_bytes,
            unreclaimed_bytes=self._unreclaimed.num_bytes,
            models={path: counts.stats() for path, counts in list(self._counts.items())},
        )

    def _end_if_lost(self, error: Exception) -> None:
        if must_end(error):
            log.error("device_lost", reason=str(error))
            self._on_lost()

    def _caches_for(self, order: LoadOrder, opened: Opened, dtype: torch.dtype) -> Caches:
        kv_dtype = self._kv_dtype if order.kv_dtype == "auto" else order.kv_dtype
        specs = [stored(spec, kv_dtype) for spec in opened.model.cache_specs]
        size = cache_size(specs, order.kv_tokens, order.state_slots)
        key = CacheKey(opened.key, size, dtype, kv_dtype)
        if order.resumes and key != self._keys.get(order.handle):
            message = "the checkpoint, or its order, has changed since its model was paused"
            raise EngineError("bad_checkpoint", message)
        self._keys[order.handle] = key
        place = order.handle if order.resumes else key
        caches, event = self._caches.open(order.handle, place, key, specs)
        if event is not None and opened.arrivals is not None:
            opened.arrivals.expect(event)
        return caches
