"""What the first rank of a group tells the others: step by step, frame by frame, never pickled."""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path

import msgspec
import torch
from msgspec import Struct
from torch import Tensor

from engine.api import Failure
from engine.channel import Frames
from engine.kernels.batch import BatchLayout, ForwardBatch
from engine.residency.loader import LoadCancelled

_LENGTH = struct.Struct("<I")
_READ_BYTES = 2**16
_POLL_SECONDS = 0.05

_ROWS = ("token_ids", "positions", "lengths", "logit_rows")
_LAYOUT = ("query_starts", "context_lens", "slots", "state_reads", "state_writes", "block_tables")


class Hello(Struct, frozen=True, tag=True):
    """A follower's first frame."""

    rank: int


class Forward(Struct, frozen=True, tag=True):
    """A batch to compute: its tensors' values, int64, one behind the other.

    sizes: of each; of segments 0 where there are none.
    """

    sizes: list[int]
    values: bytes
    block_size: int
    longest_query: int
    longest_context: int


class Regroup(Struct, frozen=True, tag=True):
    """A step failed: meet again, for the next."""


class Failed(Struct, frozen=True, tag=True):
    """A follower's step did, in the group's generation; whoever waits for it waits in vain."""

    generation: int


class Regrouped(Struct, frozen=True, tag=True):
    """The follower is about to meet. failure: why its step failed, if by itself."""

    failure: Failure | None = None


Frame = Hello | Forward | Regroup | Failed | Regrouped


class Line:
    """Frames over a connected socket, for one thread that sends and one that receives."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._socket.settimeout(None)
        self._frames, self._bodies = Frames(), list[memoryview]()
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(Frame)
        self._sending = threading.Lock()

    def send(self, frame: Frame) -> None:
        """Raises `OSError` where nobody hears."""
        body = self._encoder.encode(frame)
        with self._sending:
            self._socket.sendall(_LENGTH.pack(len(body)) + body)

    def receive(self) -> Frame | None:
        """The next, or None at the end. Raises ValueError for what is no frame."""
        while not self._bodies:
            try:
                data = self._socket.recv(_READ_BYTES)
            except OSError:
                data = b""
            if not data:
                return None
            self._bodies += self._frames.feed(data)
        frame: Frame = self._decoder.decode(self._bodies.pop(0))
        return frame

    def close(self) -> None:
        """Wakes whoever receives, on both ends."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def listen(path: Path, backlog: int) -> socket.socket:
    """In a folder that only this user may enter."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen(backlog)
    server.settimeout(_POLL_SECONDS)
    return server


def accept(server: socket.socket, count: int, cancelled: Callable[[], bool]) -> list[Line]:
    """Lines to ranks 1 to `count`, in their order. Raises `LoadCancelled`."""
    found: dict[int, Line] = {}
    while len(found) < count:
        if cancelled():
            for line in found.values():
                line.close()
            raise LoadCancelled
        try:
            connected, _ = server.accept()
        except TimeoutError:
            continue
        line = Line(connected)
        hello = line.receive()
        if isinstance(hello, Hello):
            found[hello.rank] = line
    return [found[rank] for rank in sorted(found)]


def connect(path: Path, rank: int, cancelled: Callable[[], bool]) -> Line:
    """To the first rank, once it listens. Raises `LoadCancelled`."""
    while not cancelled():
        connected = socket.socket(socket.AF_UNIX)
        try:
            connected.connect(str(path))
        except OSError:
            connected.close()
            time.sleep(_POLL_SECONDS)
        else:
            line = Line(connected)
            line.send(Hello(rank))
            return line
    raise LoadCancelled


def encoded(batch: ForwardBatch) -> Forward:
    """A batch, in host memory, as a frame."""
    layout = batch.layout
    tensors = [getattr(batch, name) for name in _ROWS]
    tensors += [getattr(layout, name).flatten() for name in _LAYOUT]
    tensors += [] if batch.segments is None else [batch.segments]
    sizes = [len(tensor) for tensor in tensors] + ([0] if batch.segments is None else [])
    values = torch.cat(tensors).numpy().tobytes()
    return Forward(sizes, values, layout.block_size, layout.longest_query, layout.longest_context)


def decoded(frame: Forward) -> ForwardBatch:
    """In host memory. Raises ValueError for sizes that do not fit the values."""
    flat = torch.frombuffer(bytearray(frame.values), dtype=torch.int64)
    ends = list(accumulate(frame.sizes))
    if len(frame.sizes) != len(_ROWS) + len(_LAYOUT) + 1 or ends[-1] != len(flat):
        raise ValueError(f"{len(flat)} values do not make up {frame.sizes}")
    parts = [flat[end - size : end] for size, end in zip(frame.sizes, ends, strict=True)]
    rows = dict(zip(_ROWS, parts, strict=False))
    layout: dict[str, Tensor] = dict(zip(_LAYOUT, parts[len(_ROWS) :], strict=False))
    layout["block_tables"] = layout["block_tables"].view(len(layout["context_lens"]), -1)
    bounds = frame.block_size, frame.longest_query, frame.longest_context
    return ForwardBatch(
        **rows,
        layout=BatchLayout(
            **layout,
            block_size=bounds[0],
            longest_query=bounds[1],
            longest_context=bounds[2],
        ),
        segments=parts[-1] if frame.sizes[-1] else None,
    )
