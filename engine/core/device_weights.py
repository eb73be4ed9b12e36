"""The weights of models on a GPU: copied from images that stay in host memory for a while."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from engine.api import EngineError, Form, Tier
from engine.core.known import KnownOutlines
from engine.core.weights import Clock, Opened
from engine.devices import Event
from engine.models.shards import Shard
from engine.residency.arena import Arena, Slot
from engine.residency.host_memory import warm_budget
from engine.residency.host_tier import HostImage, HostTier, ImageGoneError
from engine.residency.image import give_values, map_outlined
from engine.residency.image_store import ImageStore
from engine.residency.loader import LoadCancelled
from engine.residency.outline import Outline
from engine.residency.ring import PinnedRing
from engine.residency.transfer import Arrivals, TransferPlan, plan_transfer, send

MAPPED = 0.6
"""Of a load whose image is not pinned yet, the part of its progress that is over once it is mapped."""


class DeviceWeights:
    """As `engine.core.weights.Weights`, for an arena on a device; every form is "planes" there.

    warm_bytes: of images in host memory, also of models that are in use; None leaves it to
    `warm_budget`, for so many shares. ring: of the same device.
    """

    def __init__(
        self,
        arena: Arena,
        ring: PinnedRing,
        dtype: torch.dtype,
        images: ImageStore,
        warm_bytes: int | None,
        *,
        shares: int = 1,
    ) -> None:
        self._arena, self._ring, self._images = arena, ring, images
        self._known = KnownOutlines(dtype, images.folder, "planes")
        self._tier = HostTier(arena.accelerator, warm_budget(warm_bytes, shares).total_bytes)
        self._lock = threading.Lock()
        self._open: dict[Opened, Slot] = {}

    @property
    def warm_models(self) -> int:
        return len(self._unused())

    @property
    def warm_bytes(self) -> int:
        return sum(self._unused().values())

    @property
    def host_bytes(self) -> int:
        """Of all images in host memory."""
        return self._tier.num_bytes

    def open(
        self,
        path: Path,
        form: Form,
        progress: Callable[[float], None] = lambda _: None,
        cancelled: Callable[[], bool] = lambda: False,
        take_time: Callable[[], None] = lambda: None,
        *,
        shard: Shard | None = None,
        dtype: torch.dtype | None = None,
    ) -> Opened:
        """The model, once all copies of its weights were issued: `Opened.arrivals` says when they end.

        Blocks until an image is mapped that is not in host memory, and until one that is not pinned
        was read; a pinned one takes a millisecond. Raises what `Weights.open` raises, and
        `OutOfDeviceMemory`; then nothing is left on the device.
        """
        if form != "planes":
            raise EngineError("internal", f"weights that are {form} are for other devices")
        clock = Clock()
        outline = self._known.of(path, take_time, shard, dtype)
        clock.lap("headers")
        watch, plan = _Watch(progress, cancelled, take_time), plan_transfer(outline.plan)
        slot = self._arena.take(outline.key, [piece.nbytes for piece in plan.pieces])
        try:
            tier, events = self._fill(slot, outline, plan, watch, clock)
            model = outline.build()
            give_values(model, outline.plan, lambda number: plan.data_of(number, slot.pieces))
            clock.lap("model")
        except BaseException:
            slot.free()
            raise
        opened = Opened(
            model,
            outline.tape,
            outline.key,
            slot.nbytes,
            tier,
            clock.laps,
            outline.operation_bytes,
            Arrivals(self._arena.accelerator.compute_stream(), plan.group_of, events),
            slot.generation,
        )
        progress(1.0)
        with self._lock:
            self._open[opened] = slot
        return opened

    def close(self, opened: Opened) -> bool:
        """Nobody runs it any more; its image stays in host memory. Whether that was let go of: no.

        What was issued for it may still run: whoever is given its memory waits for that.
        """
        with self._lock:
            slot = self._open.pop(opened)
        slot.free()
        return False

    def settle(self) -> None:
        """Waits until images are pinned, and let go of, that were to be."""
        self._tier.settle()

    def _unused(self) -> dict[str, int]:
        with self._lock:
            used = {opened.key for opened in self._open}
        return {key: nbytes for key, nbytes in self._tier.sizes.items() if key not in used}

    def _fill(
        self, slot: Slot, outline: Outline, plan: TransferPlan, watch: "_Watch", clock: Clock
    ) -> tuple[Tier, list[Event]]:
        """Where the image was, and an event for each group of its copies."""
        tier: Tier = "warm"
        image = self._tier.find(outline.key)
        while True:
            if image is None:
                watch.take_time()
                image, tier = self._mapped(outline, watch)
                clock.lap("build" if tier == "built" else "map")
            try:
                with image.in_use() as used:
                    events = self._copy(slot, plan, image, watch, used)
                break
            except ImageGoneError:
                image = None
        if tier != "warm":
            for gone in self._tier.keep(image):
                self._tier.let_go(gone)
        clock.lap("copy")
        return tier, events

    def _mapped(self, outline: Outline, watch: "_Watch") -> tuple[HostImage, Tier]:
        whole, image = map_outlined(
            outline, self._images, lambda done: watch.progress(MAPPED * done), watch.cancelled
        )
        tier: Tier = "built" if image.was_built else "disk"
        return HostImage(outline.key, whole, image.path is not None), tier

    def _copy(
        self,
        slot: Slot,
        plan: TransferPlan,
        image: HostImage,
        watch: "_Watch",
        used: list[Event],
    ) -> list[Event]:
        """Whatever goes wrong, both sides know what is under way."""
        accelerator = self._arena.accelerator
        if watch.cancelled():
            raise LoadCancelled
        try:
            if image.is_pinned:
                return send(accelerator, plan, image.whole, slot.pieces)
            watch.take_time()
            return self._stage(slot, plan, image, watch)
        finally:
            last = accelerator.copy_stream().record()
            slot.copies.append(last)
            used[:] = [last]

    def _stage(
        self, slot: Slot, plan: TransferPlan, image: HostImage, watch: "_Watch"
    ) -> list[Event]:
        events, done = [], 0
        for group in plan.groups:
            pairs = ((each.target(slot.pieces), each.source(image.whole)) for each in group)
            events.append(self._ring.upload(pairs, watch.cancelled))
            done += sum(each.span.nbytes for each in group)
            watch.progress(MAPPED + (1 - MAPPED) * done / image.nbytes)
        return events


@dataclass(frozen=True, slots=True)
class _Watch:
    """Who watches a load."""

    progress: Callable[[float], None]
    cancelled: Callable[[], bool]
    take_time: Callable[[], None]
