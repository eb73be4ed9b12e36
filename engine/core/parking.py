"""Caches that outlive their model's weights, in host memory and within a budget."""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from itertools import chain
from typing import Generic, Protocol, TypeVar

import torch

from engine.cache.manager import CacheManager
from engine.cache.spec import KVDType
from engine.cache.views import CacheSize

DEFAULT_SHARE = 8
"""By default parked caches take an eighth of what their device may use besides: prefixes of a few
models, beside the one whose full cache is rarely more than a fifth of it."""


@dataclass(frozen=True, slots=True)
class CacheKey:
    """What two caches must have in common to hold the same of the same tokens.

    weights: `Opened.key`.
    """

    weights: str
    size: CacheSize
    dtype: torch.dtype
    kv_dtype: KVDType = "auto"


Place = CacheKey | int
"""Where caches are found: by their meaning, once they are drained, or by a paused model's handle."""


class Shelf:
    """Which caches stay when bytes run short. Pure: it knows them by place and size.

    Those of paused models come first, since sequences wait for them; what does not fit beside them
    is not kept. Of the drained the longest unused makes room.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._paused: dict[Place, int] = {}
        self._drained: OrderedDict[Place, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._paused) + len(self._drained)

    def __contains__(self, place: Place) -> bool:
        return place in self._paused or place in self._drained

    @property
    def num_bytes(self) -> int:
        return sum(chain(self._paused.values(), self._drained.values()))

    def has_room(self, num_bytes: int) -> bool:
        """Whether so many would be kept, whatever had to go for them."""
        return num_bytes + sum(self._paused.values()) <= self._max_bytes

    def put(self, place: Place, num_bytes: int) -> list[Place]:
        """What is not kept: others, to make room for it, or itself alone. The place must be free."""
        assert place not in self, f"{place} is taken"
        if not self.has_room(num_bytes):
            return [place]
        (self._paused if isinstance(place, int) else self._drained)[place] = num_bytes
        gone = []
        while self.num_bytes > self._max_bytes:
            gone.append(self._drained.popitem(last=False)[0])
        return gone

    def take(self, place: Place) -> None:
        """It is no longer here, if it was."""
        self._paused.pop(place, None)
        self._drained.pop(place, None)


class Parkable(Protocol):
    """Caches in host memory."""

    @property
    def manager(self) -> CacheManager: ...

    def trim(self) -> int:
        """Lets go of what means nothing; the bytes that the rest takes."""


C = TypeVar("C", bound=Parkable)


class Parking(Generic[C]):
    """The caches themselves, each handed over whole and nothing copied. Any thread may call."""

    def __init__(self, max_bytes: int) -> None:
        self._shelf = Shelf(max_bytes)
        self._caches: dict[Place, C] = {}
        self._lock = threading.Lock()

    @property
    def num_models(self) -> int:
        return len(self._shelf)

    @property
    def num_bytes(self) -> int:
        """What their used blocks and slots take; the pages of the others are the system's again."""
        with self._lock:
            return self._shelf.num_bytes

    def has_room(self, num_bytes: int) -> bool:
        """Whether so many would be kept, whatever had to go for them."""
        with self._lock:
            return self._shelf.has_room(num_bytes)

    def put(self, place: Place, caches: C) -> list[C]:
        """Keeps caches that nothing runs on; gives those that it let go of, to be freed or used.

        At a key they must be drained; those that are there already make way.
        """
        with self._lock:
            gone = self._take(place)
            if caches.manager.is_blank:
                return [*gone, caches]
            thrown_out = self._shelf.put(place, caches.trim())
            self._caches[place] = caches
            return gone + [self._caches.pop(each) for each in thrown_out]

    def take(self, place: Place) -> C | None:
        """The caches that were left there, which are the caller's from now on."""
        with self._lock:
            return next(iter(self._take(place)), None)

    def _take(self, place: Place) -> list[C]:
        self._shelf.take(place)
        return [self._caches.pop(place)] if place in self._caches else []
