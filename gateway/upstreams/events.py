"""Server-sent events out of bytes, within bounds."""

import re

_END = re.compile(rb"\r\n|\n|\r")

DONE = b"[DONE]"


class Events:
    """The data of the events that are whole, of whatever pieces the stream comes in.

    Comments, names and ids are skipped. What is left unfinished at the end of a stream is no event.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def add(self, piece: bytes) -> list[bytes]:
        text = self._rest + piece
        held = b"\r" if text.endswith(b"\r") else b""  # its line feed may still come
        lines = _END.split(text.removesuffix(held) if held else text)
        self._rest = lines.pop() + held
        return [event for line in lines if (event := self._read(line)) is not None]

    @property
    def num_pending(self) -> int:
        """Bytes of an event that is not whole yet."""
        return len(self._rest) + sum(map(len, self._data))

    def _read(self, line: bytes) -> bytes | None:
        if line:
            name, _, value = line.partition(b":")
            if name == b"data":
                self._data.append(value.removeprefix(b" "))
            return None
        if not self._data:
            return None
        event, self._data = b"\n".join(self._data), []
        return event
