"""Where caches come from, and where they go when their model does."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from engine.cache.caches import Caches
from engine.cache.spec import CacheSpec
from engine.cache.views import shapes_of
from engine.core.hosted import HostedCaches, hosted_bytes
from engine.core.parking import CacheKey, Parking, Place
from engine.devices import Event
from engine.residency.arena import Arena, take_tensors
from engine.residency.ring import PinnedRing

log = structlog.get_logger()


class KeptCaches(Protocol):
    """Those of models by their handles, and those that are parked. Any thread may call."""

    @property
    def num_models(self) -> int:
        """Whose caches are parked."""

    @property
    def num_bytes(self) -> int:
        """What parked caches take of host memory."""

    def open(
        self, handle: int, place: Place, key: CacheKey, specs: Sequence[CacheSpec]
    ) -> tuple[Caches, Event | None]:
        """What was parked there, or blank ones; and when they have come, where that takes time.

        Raises the allocator's errors.
        """

    def park(self, handle: int, place: Place, caches: Caches) -> list[Caches]:
        """Keeps caches that nothing runs on any more, if they fit; those to be discarded.

        It may take until the handle is closed.
        """

    def drain(self, handle: int, key: CacheKey) -> list[Caches]:
        """What was parked at the handle is for anyone with that key; those to be discarded."""

    def forget(self, handle: int) -> None:
        """Lets go of what was parked at the handle."""

    def close(self, handle: int) -> None:
        """Nothing runs on its caches, and they are parked or of no use. Blocks.

        Raises only for a device that is lost.
        """


class HostCaches:
    """They are in host memory all the time, and are handed over as they are."""

    def __init__(self, max_parked_bytes: int) -> None:
        self._parking: Parking[Caches] = Parking(max_parked_bytes)

    @property
    def num_models(self) -> int:
        return self._parking.num_models

    @property
    def num_bytes(self) -> int:
        return self._parking.num_bytes

    def open(
        self,
        handle: int,  # noqa: ARG002  # as of devices
        place: Place,
        key: CacheKey,
        specs: Sequence[CacheSpec],
    ) -> tuple[Caches, Event | None]:
        return self._parking.take(place) or Caches.of(specs, key.size, key.dtype), None

    def park(self, handle: int, place: Place, caches: Caches) -> list[Caches]:  # noqa: ARG002
        return self._parking.put(place, caches)

    def drain(self, handle: int, key: CacheKey) -> list[Caches]:
        drained = self._parking.take(handle)
        return [] if drained is None else self._parking.put(key, drained)

    def forget(self, handle: int) -> None:
        self._parking.take(handle)

    def close(self, handle: int) -> None:
        """What nobody refers to is gone."""


@dataclass(slots=True)
class _Leaving:
    """Caches on their way to a place; to none, if nobody wants them any more."""

    place: Place | None
    caches: Caches


class DeviceCaches:
    """They lie in an arena, and what they hold is copied to host memory while nothing runs on them.

    That is done when their handle is closed, lest steps of other models wait for it.
    """

    def __init__(self, arena: Arena, ring: PinnedRing, max_parked_bytes: int) -> None:
        self._arena, self._ring = arena, ring
        self._parking: Parking[HostedCaches] = Parking(max_parked_bytes)
        self._here: dict[int, Caches] = {}
        self._leaving: dict[int, _Leaving] = {}
        self._lock = threading.Lock()

    @property
    def num_models(self) -> int:
        return self._parking.num_models

    @property
    def num_bytes(self) -> int:
        return self._parking.num_bytes

    def open(
        self, handle: int, place: Place, key: CacheKey, specs: Sequence[CacheSpec]
    ) -> tuple[Caches, Event | None]:
        shapes = shapes_of(specs, key.size, key.dtype)
        slot, tensors = take_tensors(self._arena, key, shapes)
        blank = Caches.over(specs, key.size, key.dtype, slot, tensors)
        with self._lock:
            self._here[handle] = blank
        hosted = self._parking.take(place)
        if hosted is None:
            return blank, None
        caches, event = hosted.put_back(blank, self._ring)
        slot.copies.append(event)
        return caches, event

    def park(self, handle: int, place: Place, caches: Caches) -> list[Caches]:
        with self._lock:
            self._leaving[handle] = _Leaving(place, caches)
        return []

    def drain(self, handle: int, key: CacheKey) -> list[Caches]:
        with self._lock:
            if leaving := self._leaving.get(handle):
                leaving.place = key
                return []
        drained = self._parking.take(handle)
        if drained is not None:
            self._parking.put(key, drained)
        return []

    def forget(self, handle: int) -> None:
        with self._lock:
            if leaving := self._leaving.get(handle):
                leaving.place = None
        self._parking.take(handle)

    def close(self, handle: int) -> None:
        leaving, caches = self._leaving.get(handle), self._here.pop(handle, None)
        try:
            if leaving is not None:
                self._leave(handle, leaving)
        except Exception:  # without room in host memory: then they are lost
            log.exception("caches_not_parked", handle=handle)
        finally:
            with self._lock:
                self._leaving.pop(handle, None)
            if caches is not None:
                caches.discard()

    def _leave(self, handle: int, leaving: _Leaving) -> None:
        caches = leaving.caches
        if caches.manager.is_blank or not self._parking.has_room(hosted_bytes(caches)):
            return
        accelerator = self._arena.accelerator
        accelerator.copy_stream().wait(accelerator.compute_stream().record())
        hosted = HostedCaches.of(caches, self._ring)
        with self._lock:  # from now on it is found where it is parked
            del self._leaving[handle]
            if leaving.place is not None:
                self._parking.put(leaving.place, hosted)
