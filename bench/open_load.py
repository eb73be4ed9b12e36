"""Requests that come whether the earlier ones are answered or not, by a client that costs little."""

import json
import math
import random
import selectors
import socket
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

DRAIN_SECONDS = 4.0
MAX_CONNECTIONS = 256
_MAX_READ_BYTES = 2**16


def arrivals(rate: float, seconds: float, seed: int = 0) -> list[float]:
    """When requests come, in seconds from the start: a Poisson process, the same for each seed."""
    rng, moment, moments = random.Random(seed), 0.0, []
    while (moment := moment + rng.expovariate(rate)) < seconds:
        moments.append(moment)
    return moments


def answered_length(came: bytes) -> int | None:
    """Bytes of the reply that begins here, None until its head is there. It must say its length."""
    head, found, _ = came.partition(b"\r\n\r\n")
    if not found:
        return None
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return len(head) + 4 + int(line.partition(b":")[2])
    raise ValueError(f"a reply without its length: {head!r}")


@dataclass(eq=False)
class _Connection:
    """number: of the request that it waits for."""

    socket: socket.socket
    number: int = -1
    came: bytes = b""


class OpenLoad:
    """One body posted at given moments. A request counts from when it was due, not from when it went.

    It waits for a free connection where all `MAX_CONNECTIONS` are taken: a server that is that far
    behind cannot be hurt by more.
    """

    def __init__(self, url: str, path: str, body: dict[str, Any]) -> None:
        place, content = urlsplit(url), json.dumps(body).encode()
        self._place = place.hostname or "", place.port or 80
        head = f"POST {path} HTTP/1.1\r\nhost: {place.netloc}\r\ncontent-type: application/json\r\n"
        self._request = f"{head}content-length: {len(content)}\r\n\r\n".encode() + content
        self._selector = selectors.DefaultSelector()
        self._idle: list[_Connection] = []
        self._waiting: deque[int] = deque()
        self._num_open = 0
        self.num_failed = 0

    def run(self, moments: Sequence[float]) -> list[float]:
        """Seconds that each answer took; infinite where it did not come in time, or was an error."""
        begun = time.perf_counter()
        due = [begun + moment for moment in moments]
        self._taken = [math.inf] * len(due)
        self._due, num_asked = due, 0
        end = due[-1] + DRAIN_SECONDS
        while (now := time.perf_counter()) < end and (num_asked < len(due) or self._is_busy):
            while num_asked < len(due) and due[num_asked] <= now:
                self._waiting.append(num_asked)
                num_asked += 1
            self._ask_waiting()
            until = due[num_asked] if num_asked < len(due) else end
            for key, _ in self._selector.select(max(0.0, until - time.perf_counter())):
                self._read(key.data)
        return self._taken

    def close(self) -> None:
        """Hangs up, on requests too that are still unanswered."""
        for key in list(self._selector.get_map().values()):
            key.data.socket.close()
        self._selector.close()

    @property
    def _is_busy(self) -> bool:
        return bool(self._waiting) or len(self._idle) < self._num_open

    def _ask_waiting(self) -> None:
        while self._waiting and (self._idle or self._num_open < MAX_CONNECTIONS):
            connection = self._idle.pop() if self._idle else self._connect()
            connection.number, connection.came = self._waiting.popleft(), b""
            connection.socket.sendall(self._request)

    def _connect(self) -> _Connection:
        connected = socket.create_connection(self._place)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = _Connection(connected)
        self._selector.register(connected, selectors.EVENT_READ, connection)
        self._num_open += 1
        return connection

    def _read(self, connection: _Connection) -> None:
        piece = connection.socket.recv(_MAX_READ_BYTES)
        if not piece:
            self._drop(connection)
            return
        connection.came += piece
        length = answered_length(connection.came)
        if length is None or len(connection.came) < length:
            return
        if connection.came.startswith(b"HTTP/1.1 200"):
            self._taken[connection.number] = time.perf_counter() - self._due[connection.number]
        else:
            self.num_failed += 1
        self._idle.append(connection)

    def _drop(self, connection: _Connection) -> None:
        """Of a server that hung up: on an idle connection it may."""
        if connection in self._idle:
            self._idle.remove(connection)
        else:
            self.num_failed += 1
        self._selector.unregister(connection.socket)
        connection.socket.close()
        self._num_open -= 1
