"""Copies between a device and host memory that it cannot read by itself: by way of a pinned ring."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from torch import Tensor

from engine.devices import Accelerator, Event
from engine.residency.loader import LoadCancelled

CHUNK_BYTES = 32 * 2**20
NUM_CHUNKS = 4

Pair = tuple[Tensor, Tensor]
"""A target and a source, uint8, (n,) both."""


@dataclass(slots=True)
class _Chunk:
    """room: pinned. then: what is to be done once the device has written it."""

    room: Tensor
    used: int = 0
    event: Event | None = None
    then: list[Pair] = field(default_factory=list)

    def finish(self) -> None:
        if self.event is not None:
            self.event.wait()
        for target, source in self.then:
            target.copy_(source)
        self.used, self.event = 0, None
        self.then.clear()


class PinnedRing:
    """Chunks in turn; one user at a time, others wait. The memory is taken when it is first needed.

    Blocks until the source of an upload was read, or the target of a download is written. Raises
    `MemoryError` where the host has nothing to pin, and `LoadCancelled`.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        chunk_bytes: int = CHUNK_BYTES,
        num_chunks: int = NUM_CHUNKS,
    ) -> None:
        self._accelerator = accelerator
        self._chunk_bytes, self._num_chunks = chunk_bytes, num_chunks
        self._chunks: deque[_Chunk] = deque()
        self._lock = threading.Lock()

    def upload(self, pairs: Iterable[Pair], cancelled: Callable[[], bool] = lambda: False) -> Event:
        """From host memory to the device: the event behind the last copy."""
        with self._ring():
            for target, source in self._pieces(pairs):
                if cancelled():
                    raise LoadCancelled
                room = self._room(len(source))
                room.copy_(source)
                self._accelerator.copy(target, room)
            self._send()
            return self._accelerator.copy_stream().record()

    def download(self, pairs: Iterable[Pair]) -> None:
        """From the device to host memory."""
        with self._ring():
            for target, source in self._pieces(pairs):
                room = self._room(len(source))
                self._accelerator.copy(room, source)
                self._chunks[0].then.append((target, room))
            for chunk in [*self._chunks][1:]:
                chunk.finish()
            self._send()
            self._chunks[-1].finish()

    @contextmanager
    def _ring(self) -> Iterator[None]:
        with self._lock:
            while len(self._chunks) < self._num_chunks:
                self._chunks.append(_Chunk(self._accelerator.pinned(self._chunk_bytes)))
            try:
                with self._accelerator.copy_stream():
                    yield
            except BaseException:
                for chunk in self._chunks:
                    chunk.then.clear()  # nobody wants it any more
                raise

    def _pieces(self, pairs: Iterable[Pair]) -> Iterator[Pair]:
        """No larger than a chunk."""
        for target, source in pairs:
            for start in range(0, len(source), self._chunk_bytes):
                end = start + self._chunk_bytes
                yield target[start:end], source[start:end]

    def _room(self, nbytes: int) -> Tensor:
        """Of the chunk in turn; one that has no more is left to the device."""
        if self._chunks[0].used + nbytes > self._chunk_bytes:
            self._send()
            self._chunks[0].finish()
        chunk = self._chunks[0]
        chunk.used += nbytes
        return chunk.room[chunk.used - nbytes : chunk.used]

    def _send(self) -> None:
        self._chunks[0].event = self._accelerator.copy_stream().record()
        self._chunks.rotate(-1)
