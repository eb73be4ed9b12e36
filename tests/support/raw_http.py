"""HTTP as bytes over a socket, for what no client library would send."""

import json
import socket
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import Any, Self

SECONDS = 30
HEAD = b"Host: localhost\r\nContent-Type: application/json\r\n"


@dataclass(frozen=True)
class Answer:
    """headers: with their names in small letters."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def post(path: str, body: bytes, head: bytes = HEAD) -> bytes:
    """A whole request of the body, whose length it says."""
    line = b"POST %b HTTP/1.1\r\n" % path.encode()
    return line + head + b"Content-Length: %d\r\n\r\n" % len(body) + body


def ask(
    address: tuple[str, int], raw: bytes, *, num_answers: int = 1, ends: bool = False
) -> list[Answer]:
    """What is answered to these bytes, at most `num_answers`.

    ends: says that nothing else is going to be sent.
    """
    with socket.create_connection(address, SECONDS) as connection:
        with suppress(OSError):  # refused before it had read all, which the answer says
            connection.sendall(raw)
            if ends:
                connection.shutdown(socket.SHUT_WR)
        return _read(connection, num_answers)


def _read(connection: socket.socket, num_answers: int) -> list[Answer]:
    answers: list[Answer] = []
    with _Kept(connection) as kept:
        while len(answers) < num_answers and kept.has_more:
            response = HTTPResponse(kept)  # type: ignore[arg-type]  # it only makes a file of it
            response.begin()
            headers = {name.lower(): value for name, value in response.getheaders()}
            answers.append(Answer(response.status, headers, response.read()))
    return answers


class _Kept:
    """A socket's file that several responses are read from."""

    def __init__(self, connection: socket.socket) -> None:
        self._file = connection.makefile("rb")
        self._close = self._file.close
        self._file.close = lambda: None  # type: ignore[method-assign]  # as a response does

    def makefile(self, *_: object) -> Any:
        return self._file

    @property
    def has_more(self) -> bool:
        try:
            return bool(self._file.peek(1))
        except ConnectionResetError:
            return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()
