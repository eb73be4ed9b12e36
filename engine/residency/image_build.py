"""Builds an image: pieces tiled, summed and written by several threads, without a second copy."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from engine.checkpoint import Checkpoint
from engine.checkpoint.fingerprint import fingerprint
from engine.models.blueprint import Blueprint
from engine.residency.checksum import STRIPE, Sums, digest, partial_sums
from engine.residency.image_file import write_all, write_header
from engine.residency.image_plan import ImagePlan
from engine.residency.image_rows import PIECE_BYTES, Piece, pieces
from engine.residency.loader import LoadCancelled

_AHEAD = 4
"""Pieces in flight for each thread."""

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
        for piece in _pieces(checkpoint, model, plan):
            if cancelled():
                threads.shutdown(cancel_futures=True)
                raise LoadCancelled
            writer.add(piece, threads.submit(writer.write, piece))
            progress(writer.written_bytes / plan.weights_bytes)
        writer.finish()
    progress(1.0)
    fingerprint(checkpoint)  # raises if a file was changed meanwhile
    write_header(descriptor, plan, writer.checksums)


def _pieces(checkpoint: Checkpoint, model: Blueprint, plan: ImagePlan) -> Iterator[Piece]:
    numbered = enumerate(zip(model.bindings, plan.segments, strict=True))
    return chain.from_iterable(
        pieces(checkpoint, model.config, number, binding, segment)
        for number, (binding, segment) in numbered
    )


def _be_one_thread() -> None:
    torch.set_num_threads(1)  # torch keeps it per thread


@dataclass(slots=True)
class _Writer:
    """write: on any thread. Everything else on the thread that has the pieces."""

    descriptor: int
    plan: ImagePlan
    written_bytes: int = 0
    _sums: list[Sums] = field(init=False)
    _flying: deque[tuple[Piece, Future[Sums]]] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self._sums = [np.zeros(STRIPE // 8, np.uint64) for _ in self.plan.segments]

    def write(self, piece: Piece) -> Sums:
        data = piece.write_to(_room(piece.nbytes)).numpy()
        place = self.plan.segments[piece.segment].offset + piece.start
        write_all(self.descriptor, data.data, place)
        return partial_sums(data, piece.start)

    def add(self, piece: Piece, future: "Future[Sums]") -> None:
        """Waits for the oldest piece once enough are in flight."""
        self._flying.append((piece, future))
        if len(self._flying) > _AHEAD * torch.get_num_threads():
            self._take()

    def finish(self) -> None:
        while self._flying:
            self._take()

    def _take(self) -> None:
        piece, future = self._flying.popleft()
        self._sums[piece.segment] += future.result()
        self.written_bytes += piece.nbytes

    @property
    def checksums(self) -> list[int]:
        sized = zip(self._sums, self.plan.segments, strict=True)
        return [digest(sums, segment.nbytes) for sums, segment in sized]


def _room(nbytes: int) -> Tensor:
    """Scratch memory of a thread: fresh memory for each piece would cost more than the tiling."""
    room: Tensor | None = getattr(_scratch, "room", None)
    if room is None or len(room) < nbytes:
        fresh = torch.empty(max(nbytes, PIECE_BYTES) + STRIPE, dtype=torch.uint8)
        room = _scratch.room = fresh[-fresh.data_ptr() % STRIPE :]
    return room
