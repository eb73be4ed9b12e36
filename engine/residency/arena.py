"""All of a device's memory that models are given, in one piece that is never given back."""

import threading
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from math import prod

import torch
from torch import Tensor

from engine.devices import Accelerator, Event, OutOfDeviceMemory
from engine.models.planes import ALIGNMENT, UNIT
from engine.residency.arena_plan import ArenaPlan, Place

MERGED_BYTES = 64 * 2**20
"""So much of a cache at least lies together where no hole holds all of it: each piece is rounded up."""


class Arena:
    """Slots of device memory. Any thread may call; taken from the device when it is first needed."""

    def __init__(self, accelerator: Accelerator, num_bytes: int) -> None:
        self.accelerator = accelerator
        self._plan = ArenaPlan(max(0, num_bytes) // UNIT)
        self._memory: Tensor | None = None
        self._fences: list[Event] = []
        self._lock = threading.Lock()

    @property
    def num_bytes(self) -> int:
        return self._plan.num_units * UNIT

    @property
    def free_bytes(self) -> int:
        with self._lock:
            return self._plan.num_free * UNIT

    def take(self, key: Hashable, pieces: Sequence[int]) -> "Slot":
        """Memory for pieces of so many bytes each, of any content: together, or wherever each fits.

        pieces: multiples of `ALIGNMENT`. What is issued to the copy stream from now on begins after
        all that ran on the memory before; so does what is issued to the compute stream. Raises
        `OutOfDeviceMemory`.
        """
        with self._lock:
            memory = self._allocated()
            place = self._plan.take(key, _units(sum(pieces)), [_units(each) for each in pieces])
            if place is None:
                free, largest = self._plan.num_free * UNIT, self._plan.largest_hole * UNIT
                raise OutOfDeviceMemory(
                    f"{sum(pieces)} bytes are needed, {free} free, {largest} of them in one piece"
                )
            try:
                self._wait_for_fences()
            except BaseException:
                self._plan.free(place)
                raise
            return Slot(self, place, _views(memory, place, pieces))

    def give_back(self, slot: "Slot") -> None:
        """Whoever is given the memory next waits for what runs on it still."""
        fences: list[Event] = []
        try:
            slot.wait_for_copies()
            fences.append(self.accelerator.compute_stream().record())
        finally:  # also of a device that is lost
            with self._lock:
                self._fences += fences
                self._plan.free(slot.place)

    def check(self) -> None:
        """Asserts that all memory is accounted for."""
        with self._lock:
            self._plan.check()

    def _allocated(self) -> Tensor:
        if self._memory is None:
            self._memory = self.accelerator.allocate(self.num_bytes)
        return self._memory

    def _wait_for_fences(self) -> None:
        copies = self.accelerator.copy_stream()
        pending = [fence for fence in self._fences if not fence.is_done()]
        for fence in pending:
            copies.wait(fence)
        self._fences = []


@dataclass(slots=True, eq=False)
class Slot:
    """What was taken for one key: a tensor of bytes for each piece, until it is freed.

    copies: events of the copy stream behind whatever it was given to do here.
    """

    arena: Arena
    place: Place
    pieces: list[Tensor]
    copies: list[Event] = field(default_factory=list)
    is_freed: bool = False

    @property
    def generation(self) -> int:
        """The same again only for the same key at the same addresses."""
        return self.place.generation

    @property
    def nbytes(self) -> int:
        return self.place.num_units * UNIT

    def wait_for_copies(self) -> None:
        """Blocks the host while the copy stream is at work here."""
        for event in self.copies:
            event.wait()
        self.copies.clear()

    def free(self) -> None:
        """Again does nothing."""
        if not self.is_freed:
            self.is_freed, self.pieces = True, []
            self.arena.give_back(self)


def take_tensors(
    arena: Arena, key: Hashable, shapes: Sequence[tuple[tuple[int, ...], torch.dtype]]
) -> tuple[Slot, list[Tensor]]:
    """Tensors of these shapes, of any content. Raises `OutOfDeviceMemory`."""
    sizes = [prod(shape) * dtype.itemsize for shape, dtype in shapes]
    aligned = [-(-size // ALIGNMENT) * ALIGNMENT for size in sizes]
    runs = _runs(aligned)
    slot = arena.take(key, [sum(aligned[number] for number in run) for run in runs])
    places = {
        number: (piece, start)
        for piece, run in zip(slot.pieces, runs, strict=True)
        for number, start in zip(run, _starts(aligned[each] for each in run), strict=False)
    }
    tensors = []
    for number, (shape, dtype) in enumerate(shapes):
        piece, start = places[number]
        tensors.append(piece[start : start + sizes[number]].view(dtype).view(shape))
    return slot, tensors


def _units(nbytes: int) -> int:
    return -(-nbytes // UNIT)


def _starts(sizes: Iterable[int]) -> Iterator[int]:
    """Of each, and the end of the last."""
    return accumulate(sizes, initial=0)


def _views(memory: Tensor, place: Place, pieces: Sequence[int]) -> list[Tensor]:
    """Of each piece its bytes."""
    starts = [start * UNIT for start, _ in place.extents]
    if len(starts) != len(pieces):  # all of them in one
        starts = [starts[0] + start for start in _starts(pieces)][:-1]
    return [memory[start : start + nbytes] for start, nbytes in zip(starts, pieces, strict=True)]


def _runs(sizes: Sequence[int]) -> list[list[int]]:
    """Neighbours, so that each run but the last has `MERGED_BYTES` or more."""
    runs: list[list[int]] = []
    open_bytes = MERGED_BYTES
    for number, size in enumerate(sizes):
        if open_bytes >= MERGED_BYTES:
            runs.append([])
            open_bytes = 0
        runs[-1].append(number)
        open_bytes += size
    return runs
