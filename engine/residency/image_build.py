"""Builds an image: blocks tiled, summed and written by several threads, without a second copy."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain, groupby

import numpy as np
import torch
from torch import Tensor

from engine.checkpoint import Checkpoint
from engine.checkpoint.fingerprint import fingerprint
from engine.models.blueprint import Blueprint
from engine.residency.checksum import STRIPE, Sums, digest, partial_sums
from engine.residency.image_file import write_all, write_header
from engine.residency.image_plan import ImagePlan
from engine.residency.image_rows import BLOCK_BYTES, Piece, pieces
from engine.residency.loader import LoadCancelled

_AHEAD = 4
"""Blocks in flight for each thread."""

_Block = list[Piece]
"""All that one block of the file holds, in turn."""

_scratch = threading.local()


def build_image(
    descriptor: int,
    checkpoint: Checkpoint,
    model: Blueprint,
    plan: ImagePlan,
    *,
    progress: Callable[[float], None],
    cancelled: Callable[[], bool],
) -> None:
    """Writes the image to an empty file. Raises `LoadCancelled`, `CheckpointError`, `OSError`."""
    writer = _Writer(descriptor, plan)
    with ThreadPoolExecutor(torch.get_num_threads(), initializer=_be_one_thread) as threads:
        for block in _blocks(checkpoint, model, plan):
            if cancelled():
                threads.shutdown(cancel_futures=True)
                raise LoadCancelled
            writer.add(block, threads.submit(writer.write, block))
            progress(writer.written_bytes / plan.weights_bytes)
        writer.finish()
    progress(1.0)
    fingerprint(checkpoint)  # raises if a file was changed meanwhile
    write_header(descriptor, plan, writer.checksums)


def _blocks(checkpoint: Checkpoint, model: Blueprint, plan: ImagePlan) -> "Iterator[_Block]":
    """The file in turn, as much at a time as is one huge page of it."""
    numbered = enumerate(zip(model.bindings, plan.segments, strict=True))
    in_place = sorted(numbered, key=lambda each: each[1][1].offset)
    made = chain.from_iterable(
        pieces(checkpoint, model.config, number, binding, segment)
        for number, (binding, segment) in in_place
    )
    for _, block in groupby(made, lambda piece: _place(plan, piece) // BLOCK_BYTES):
        yield list(block)


def _place(plan: ImagePlan, piece: Piece) -> int:
    """In the file."""
    return plan.segments[piece.segment].offset + piece.start


def _be_one_thread() -> None:
    torch.set_num_threads(1)  # torch keeps it per thread


@dataclass(slots=True)
class _Writer:
    """write: on any thread. Everything else on the thread that has the pieces."""

    descriptor: int
    plan: ImagePlan
    written_bytes: int = 0
    _sums: list[Sums] = field(init=False)
    _flying: deque[tuple[_Block, Future[list[Sums]]]] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self._sums = [np.zeros(STRIPE // 8, np.uint64) for _ in self.plan.segments]

    def write(self, block: _Block) -> list[Sums]:
        """What each piece adds to the sums of its segment."""
        room = _room(sum(piece.room_bytes for piece in block))
        offset = end = _place(self.plan, block[0])
        views, sums = [], []
        for piece in block:
            data = piece.write_to(room).numpy()
            room = room[piece.room_bytes :]
            place = _place(self.plan, piece)
            views += [memoryview(bytes(place - end)), data.data]
            sums.append(partial_sums(data, piece.start))
            end = place + piece.nbytes
        write_all(self.descriptor, views, offset)
        return sums

    def add(self, block: _Block, future: "Future[list[Sums]]") -> None:
        """Waits for the oldest block once enough are in flight."""
        self._flying.append((block, future))
        if len(self._flying) > _AHEAD * torch.get_num_threads():
            self._take()

    def finish(self) -> None:
        while self._flying:
            self._take()

    def _take(self) -> None:
        block, future = self._flying.popleft()
        for piece, sums in zip(block, future.result(), strict=True):
            self._sums[piece.segment] += sums
            self.written_bytes += piece.nbytes

    @property
    def checksums(self) -> list[int]:
        sized = zip(self._sums, self.plan.segments, strict=True)
        return [digest(sums, segment.nbytes) for sums, segment in sized]


def _room(nbytes: int) -> Tensor:
    """Scratch memory of a thread: fresh memory for each block would cost more than the tiling."""
    room: Tensor | None = getattr(_scratch, "room", None)
    if room is None or len(room) < nbytes:
        fresh = torch.empty(max(nbytes, BLOCK_BYTES) + STRIPE, dtype=torch.uint8)
        room = _scratch.room = fresh[-fresh.data_ptr() % STRIPE :]
    return room
