"""Typed frames between two processes: a length of four bytes, then msgpack. Never pickle.

A protocol of the event loop and not a pair of streams: a frame is handed on in the call that brings
its last byte. A task that waits for it would cost more than everything else that happens to a token.
"""

import asyncio
import os
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import msgspec
from msgspec import Struct

MAX_FRAME_BYTES = 256 * 2**20
MAX_WAITING_FRAMES = 64
"""Frames that nobody has received yet; the peer waits then."""

_LENGTH = struct.Struct("<I")

In = TypeVar("In")
Sent = TypeVar("Sent")


class FrameError(ValueError):
    """The peer sent what is no frame, or no frame of this channel."""


class Frames:
    """Bytes in, bodies of whole frames out."""

    def __init__(self) -> None:
        self._part = bytearray()
        self._wanted = _LENGTH.size

    def feed(self, data: bytes) -> list[memoryview]:
        """Raises `FrameError` for a length past the limit, before anything is kept of it."""
        if self._part:
            self._part += data
            if len(self._part) < self._wanted:  # else a large frame would be copied at each piece
                return []
            data = bytes(self._part)
        view, start, bodies = memoryview(data), 0, []
        while (end := start + self._size_of(view[start:])) <= len(data):
            bodies.append(view[start + _LENGTH.size : end])
            start = end
        self._part, self._wanted = bytearray(view[start:]), end - start
        return bodies

    @staticmethod
    def _size_of(view: memoryview) -> int:
        """Bytes of the frame that begins here, or of what must be there to know them."""
        if len(view) < _LENGTH.size:
            return _LENGTH.size
        (length,) = _LENGTH.unpack_from(view)
        if length > MAX_FRAME_BYTES:
            raise FrameError(f"frame of {length} bytes, limit {MAX_FRAME_BYTES}")
        return _LENGTH.size + int(length)


class Channel(asyncio.Protocol, Generic[In]):
    """Frames of type `incoming` from a peer, and any to it. One reads, by `receive` or by `each`.

    on_open: called with the channel of each connection that a server accepts.
    """

    def __init__(
        self, incoming: type[In], on_open: Callable[["Channel[In]"], None] = lambda _: None
    ) -> None:
        self._decoder = msgspec.msgpack.Decoder(incoming)
        self._encoder = msgspec.msgpack.Encoder()
        self._on_open = on_open
        self._frames = Frames()
        self._received: deque[In] = deque()
        self._take: Callable[[In], None] = self._keep
        self._news: asyncio.Future[None] | None = None
        self._error: Exception | None = None
        self._is_ended = self._is_paused = False
        # what another thread posts
        self._posting = threading.Lock()
        self._fd = -1
        self._num_relayed = 0
        self._is_backed_up = False

    @classmethod
    async def over(cls, connected: socket.socket, incoming: Any) -> "Channel[Any]":
        """Over a socket that is connected already, which it takes over."""
        loop = asyncio.get_running_loop()
        _, channel = await loop.create_unix_connection(lambda: cls(incoming), sock=connected)
        return channel

    @classmethod
    async def to(cls, path: str | Path, incoming: Any) -> "Channel[Any]":
        """To who listens at `path`; raises `OSError` if nobody does."""
        loop = asyncio.get_running_loop()
        _, channel = await loop.create_unix_connection(lambda: cls(incoming), str(path))
        return channel

    # --- sending --------------------------------------------------------------------------------

    def send(self, message: Struct) -> None:
        """Queues a frame. A peer that is gone shows where frames are read, not here."""
        self._write(self._framed(message))

    def post(self, message: Struct) -> None:
        """Sends a frame from one other thread, without waking the loop's own if it can be helped.

        A channel that is posted to is not sent to: the two would mix.
        """
        frame = self._framed(message)
        with self._posting:
            if not (self._num_relayed or self._is_backed_up):
                frame = frame[self._written_now(frame) :]
            if frame:
                self._num_relayed += 1
                self._loop.call_soon_threadsafe(self._relay, frame)

    def close(self) -> None:
        """Sends what is queued, and hangs up."""
        self._transport.close()

    def _framed(self, message: Struct) -> bytes:
        body = self._encoder.encode(message)
        if len(body) > MAX_FRAME_BYTES:
            raise ValueError(f"frame of {len(body)} bytes, limit {MAX_FRAME_BYTES}")
        return _LENGTH.pack(len(body)) + body

    def _write(self, frame: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(frame)

    def _written_now(self, frame: bytes) -> int:
        """How much of it the socket took; of a peer that is gone, everything."""
        if self._fd < 0:
            return len(frame)
        try:
            return os.write(self._fd, frame)
        except BlockingIOError:
            return 0
        except OSError:
            return len(frame)

    def _relay(self, frame: bytes) -> None:
        self._write(frame)  # sets `_is_backed_up` before the count says that nothing is on its way
        with self._posting:
            self._num_relayed -= 1

    # --- reading --------------------------------------------------------------------------------

    async def receive(self) -> In | None:
        """The next frame, None at the end. Raises `FrameError`."""
        while not (self._received or self._is_ended):
            await self._something()
        if not self._received:
            self._raise_error()
            return None
        frame = self._received.popleft()
        self._go_on()
        return frame

    async def each(self, take: Callable[[In], None]) -> None:
        """Calls `take` with every frame as it comes, until the end of the stream.

        Raises `FrameError`, and what `take` raises; nothing more is read after either.
        """
        while self._received:
            take(self._received.popleft())
        self._take = take
        self._go_on()
        while not self._is_ended:
            await self._something()
        self._raise_error()

    def _keep(self, frame: In) -> None:
        self._received.append(frame)
        if len(self._received) >= MAX_WAITING_FRAMES and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()
        self._wake()

    def _go_on(self) -> None:
        if self._is_paused and not self._is_ended:
            self._is_paused = False
            self._transport.resume_reading()

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    async def _something(self) -> None:
        self._news = self._loop.create_future()
        await self._news

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    # --- called by the event loop ---------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=0)  # to be told of any byte that waits
        self._fd = self._transport.get_extra_info("socket").fileno()
        self._on_open(self)

    def data_received(self, data: bytes) -> None:
        if self._is_ended:
            return
        try:
            for body in self._frames.feed(data):
                self._take(self._decoded(body))
        except Exception as error:  # noqa: BLE001  # whoever reads raises it
            self._error = error
            self._finish()
            self._transport.close()

    def _decoded(self, body: memoryview) -> In:
        try:
            return self._decoder.decode(body)
        except msgspec.MsgspecError as error:
            raise FrameError(str(error)) from error

    def eof_received(self) -> None:
        self._finish()

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002
        with self._posting:  # the number is soon another file's
            self._fd = -1
        self._finish()

    def pause_writing(self) -> None:
        self._is_backed_up = True

    def resume_writing(self) -> None:
        self._is_backed_up = False

    def _finish(self) -> None:
        self._is_ended = True
        self._wake()
