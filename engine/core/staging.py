"""Pinned memory through which steps' inputs go to a device, and what was drawn comes back.

All of it is used by turns of two, as no more steps than that are under way.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.devices import Accelerator, Event

_DEPTH = 2


@dataclass(slots=True)
class _Room:
    host: Tensor
    event: Event | None = None


class Staging:
    """int64 values on their way to a device, by its compute stream. For one caller at a time."""

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator
        self._rooms = [_Room(torch.empty(0, dtype=torch.int64)) for _ in range(_DEPTH)]
        self._turn = 0

    def send(self, target: Tensor, fill: Callable[[Tensor], None]) -> None:
        """Issues the copy of what `fill` writes, (n,), to target (n,) on the device."""
        room = self._rooms[self._turn]
        self._turn = (self._turn + 1) % _DEPTH
        if room.event is not None:
            room.event.wait()
        if len(room.host) < len(target):
            room.host = self._accelerator.pinned(_grown(target.nbytes)).view(torch.int64)
        host = room.host[: len(target)]
        fill(host)
        self._accelerator.copy(target, host)
        room.event = self._accelerator.compute_stream().record()


class Returns:
    """int64 values on their way back from a device, by its compute stream. For one caller at a time."""

    def __init__(self, accelerator: Accelerator, max_values: int) -> None:
        self._accelerator, self._max_values = accelerator, max_values
        self._rooms: list[Tensor] = []
        self._turn = 0

    def fetch(self, source: Tensor) -> "Returning":
        """Issues the copy of (n,) values. They must be read before the next but one is fetched."""
        if not self._rooms:
            num_bytes = self._max_values * source.itemsize
            pinned = [self._accelerator.pinned(num_bytes) for _ in range(_DEPTH)]
            self._rooms = [each.view(torch.int64) for each in pinned]
        self._turn = (self._turn + 1) % _DEPTH
        host = self._rooms[self._turn][: len(source)]
        self._accelerator.copy(host, source)
        return Returning(host, self._accelerator.compute_stream().record())


@dataclass(frozen=True, slots=True)
class Returning:
    _host: Tensor
    _event: Event

    def values(self) -> list[int]:
        """Blocks until they are there, and everything that was issued before them is done."""
        self._event.wait()
        found: list[int] = self._host.tolist()
        return found


def _grown(num_bytes: int) -> int:
    """A power of two, lest it grows with each step."""
    return max(1 << 16, 1 << (num_bytes - 1).bit_length())
