"""Streaming clients that cost next to nothing: sockets whose events are counted, not parsed."""

import json
import selectors
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

_EVENT, _END = b"data: {", b"data: [DONE]"
_MAX_READ_BYTES = 2**20


@dataclass
class RawStream:
    """One request's reply: when it was asked for, and when its events came."""

    socket: socket.socket
    asked: float
    moments: list[float] = field(default_factory=list)
    is_done: bool = False
    _tail: bytes = b""

    def read(self) -> None:
        """Takes what is there. Raises `ConnectionError` where the server hung up."""
        piece = self.socket.recv(_MAX_READ_BYTES)
        if not piece:
            raise ConnectionError("the server hung up")
        seen = self._tail + piece  # an event may be cut in two
        num_new = seen.count(_EVENT) - self._tail.count(_EVENT)
        self.moments += [time.perf_counter()] * num_new
        self.is_done = _END in seen
        self._tail = seen[1 - len(_END) :]


def stream_all(
    url: str,
    bodies: Sequence[dict[str, Any]],
    on_edge: Callable[[], None],
    path: str = "/v1/completions",
) -> list[RawStream]:
    """Asks everything at once, and reads until all is answered.

    on_edge: called when the last stream has begun and when the first has ended; in between all run.
    """
    streams = [RawStream(_asked(url + path, body), time.perf_counter()) for body in bodies]
    num_begun = num_done = 0
    with selectors.DefaultSelector() as selector:
        for stream in streams:
            selector.register(stream.socket, selectors.EVENT_READ, stream)
        while num_done < len(streams):
            for key, _ in selector.select():
                key.data.read()
            before = num_begun == len(streams), num_done > 0
            num_begun = sum(bool(stream.moments) for stream in streams)
            num_done += _close_done(selector, streams)
            if before != (num_begun == len(streams), num_done > 0):
                on_edge()
    return streams


def _close_done(selector: selectors.BaseSelector, streams: Sequence[RawStream]) -> int:
    """Lets go of those that have ended; how many they are."""
    done = [stream for stream in streams if stream.is_done and stream.socket.fileno() >= 0]
    for stream in done:
        selector.unregister(stream.socket)
        stream.socket.close()
    return len(done)


def _asked(url: str, body: dict[str, Any]) -> socket.socket:
    place = urlsplit(url)
    assert place.hostname, url
    content = json.dumps(body).encode()
    head = f"POST {place.path} HTTP/1.1\r\nhost: {place.netloc}\r\nconnection: close\r\n"
    head += f"content-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
    connected = socket.create_connection((place.hostname, place.port or 80))
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connected.sendall(head.encode() + content)
    return connected
