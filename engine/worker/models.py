"""What models have beside the step loop: their weights, and caches that nothing runs on."""

import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import msgspec
import torch

from engine.api import DeviceStats, EngineError, HostMemory, LoadOrder, LoadReport
from engine.cache.caches import Caches
from engine.cache.spec import KVDType, stored
from engine.core.counts import ModelCounts
from engine.core.opening import cache_size, report_of, runnable, workspace_of
from engine.core.parking import DEFAULT_SHARE, CacheKey, Parking
from engine.core.runner import LanguageModel
from engine.core.weights import Opened, Weights
from engine.residency.image_store import ImageStore
from engine.worker.memory import Unreclaimed


class Models:
    """By handle. Load threads open, the step loop parks, and others close: any thread may call."""

    def __init__(
        self,
        dtype: torch.dtype,
        images: ImageStore,
        host: HostMemory,
        device_bytes: int,
        kv_dtype: KVDType = "auto",
    ) -> None:
        parked_bytes = host.parked_bytes
        if parked_bytes is None:
            parked_bytes = device_bytes // DEFAULT_SHARE
        self._dtype, self._kv_dtype = dtype, kv_dtype
        self._weights = Weights(dtype, images, host.warm_bytes)
        self._parking = Parking(parked_bytes)
        self._opened: dict[int, Opened] = {}
        self._keys: dict[int, CacheKey] = {}  # also of those whose weights are let go of
        self._counts: defaultdict[str, ModelCounts] = defaultdict(ModelCounts)
        self._unreclaimed = Unreclaimed()

    def open(
        self,
        order: LoadOrder,
        progress: Callable[[float], None],
        cancelled: Callable[[], bool],
        take_time: Callable[[], None] = lambda: None,
    ) -> tuple[LanguageModel, Caches, LoadReport]:
        """A model with what was parked of it, or empty caches. It must be closed, even if this raises.

        progress, cancelled, take_time: as in `Weights.open`. Raises what `Weights.open` raises, the allocator's errors, and `EngineError` for an order to
        resume what is not the same any more.
        """
        path = Path(order.path)
        opened = self._weights.open(path, order.form, progress, cancelled, take_time)
        self._opened[order.handle] = opened
        started = time.perf_counter()
        caches = self._caches_for(order, opened)
        model = runnable(opened, caches)
        opened.phases["program"] = time.perf_counter() - started
        workspace = workspace_of(model, opened, path, order.form, self._dtype)
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
        if is_paused:
            return [] if key is None or caches is None else self._parking.put(handle, caches)
        self._keys.pop(handle, None)
        drained = caches or self._parking.take(handle)
        if key is None or drained is None:
            return []
        return self._parking.put(key, drained)

    def forget(self, handle: int) -> None:
        """Lets go of what is kept of a model that could not be loaded."""
        self._keys.pop(handle, None)
        self._parking.take(handle)

    def close(self, handle: int) -> bool:
        """Its weights are not needed any more; the caller has let go of everything else.

        Whether weights were let go of: not those that stay warm.
        """
        opened = self._opened.pop(handle, None)
        return opened is not None and self._weights.close(opened)

    def counts_of(self, path: str) -> ModelCounts:
        """What is counted of a checkpoint, in whichever residence."""
        return self._counts[path]

    def look_at_memory(self) -> None:
        """Sees what the process still holds, if no model is here: nothing else says what it is for."""
        if not self._opened:
            kept = self._weights.warm_bytes + self._parking.num_bytes
            self._unreclaimed.look(kept)

    def counted(self, stats: DeviceStats) -> DeviceStats:
        """With what host memory is used for now."""
        return msgspec.structs.replace(
            stats,
            warm_models=self._weights.warm_models,
            warm_bytes=self._weights.warm_bytes,
            parked_models=self._parking.num_models,
            parked_bytes=self._parking.num_bytes,
            unreclaimed_bytes=self._unreclaimed.num_bytes,
            models={path: counts.stats() for path, counts in list(self._counts.items())},
        )

    def _caches_for(self, order: LoadOrder, opened: Opened) -> Caches:
        specs = [stored(spec, self._kv_dtype) for spec in opened.model.cache_specs]
        size = cache_size(specs, order.kv_tokens, order.state_slots)
        key = CacheKey(opened.key, size, self._dtype)
        if order.resumes and key != self._keys.get(order.handle):
            message = "the checkpoint has changed since its model was paused"
            raise EngineError("bad_checkpoint", message)
        self._keys[order.handle] = key
        found = self._parking.take(order.handle if order.resumes else key)
        return found or Caches.of(specs, size, self._dtype)
