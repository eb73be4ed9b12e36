import struct

from engine.checkpoint.errors import CheckpointError
from engine.checkpoint.source_file import SourceFile

MAX_STRING_BYTES = 64 * 2**20
# Stepping over strings is the one thing that takes time per byte of header; the largest
# vocabularies have under a million tokens and merges.
MAX_STRINGS = 2**22
_FIRST_READ_BYTES = 2**20
_STRINGS_AT_ONCE = 4096
_U64 = struct.Struct("<Q")


class GGUFCursor:
    """Walks over a header, reading the file in growing pieces and never past `limit` bytes.

    data: what was read so far, from byte 0. position: where the next value begins.
    Every failure is a `CheckpointError` with the byte at which it is.
    """

    def __init__(self, file: SourceFile, limit: int) -> None:
        self.data = bytearray()
        self.position = 0
        self.file_size = file.size
        self._file = file
        self._limit = limit
        self._strings = 0

    @property
    def remaining(self) -> int:
        """Bytes from here to the end of the file."""
        return self.file_size - self.position

    def error(self, what: str, offset: int | None = None) -> CheckpointError:
        return self._file.error(what, self.position if offset is None else offset)

    def unpack(self, layout: struct.Struct) -> tuple[int | float | bool, ...]:
        start = self.skip(layout.size)
        return layout.unpack_from(self.data, start)

    def number(self, layout: struct.Struct) -> int:
        """One value of a layout that holds a single integer."""
        return int(self.unpack(layout)[0])

    def text(self, what: str, max_bytes: int) -> str:
        """A string: its length in 8 bytes, then UTF-8."""
        start = self.position
        size = self.number(_U64)
        if size > max_bytes:
            raise self.error(f"{what} is {size} bytes long, limit {max_bytes}", start)
        begin = self.skip(size)
        try:
            return self.data[begin : begin + size].decode()
        except UnicodeDecodeError:
            raise self.error(f"{what} is not UTF-8", begin) from None

    def skip(self, size: int) -> int:
        """Steps over `size` bytes and gives where they begin."""
        begin, end = self.position, self.position + size
        if end > len(self.data):
            self._load(end, begin)
        self.position = end
        return begin

    def skip_strings(self, count: int) -> None:
        """Steps over strings by their lengths alone; they are decoded when somebody wants them."""
        self._strings += count
        if self._strings > MAX_STRINGS:
            raise self.error(f"holds more than {MAX_STRINGS} strings")
        for first in range(0, count, _STRINGS_AT_ONCE):
            some = min(_STRINGS_AT_ONCE, count - first)
            if not self._skip_loaded_strings(some):
                self._skip_any_strings(some)

    def _skip_loaded_strings(self, count: int) -> bool:
        """Whether it could: all of them were read, and none can be too long. Else nothing is done.

        With one check for all of them it takes three quarters of the time.
        """
        data, position, unpack = self.data, self.position, _U64.unpack_from
        try:
            for _ in range(count):
                position += 8 + unpack(data, position)[0]
        except (struct.error, OverflowError):  # past what was read; past what can be counted
            return False
        if position > len(data) or position - self.position > MAX_STRING_BYTES:
            return False
        self.position = position
        return True

    def _skip_any_strings(self, count: int) -> None:
        data, position, unpack = self.data, self.position, _U64.unpack_from
        loaded = len(data)
        for _ in range(count):
            if position + 8 > loaded:
                loaded = self._load(position + 8, position)
            size = unpack(data, position)[0]
            if size > MAX_STRING_BYTES:
                what = f"a string is {size} bytes long, limit {MAX_STRING_BYTES}"
                raise self.error(what, position)
            position += 8 + size
            if position > loaded:
                loaded = self._load(position, position - size)
        self.position = position

    def _load(self, end: int, offset: int) -> int:
        if end > self.file_size:
            what = f"the header runs past the end of the file ({self.file_size} bytes)"
            raise self.error(what, offset)
        if end > self._limit:
            raise self.error(f"the header is larger than {self._limit} bytes", offset)
        # Doubling keeps the number of reads small without reading much of the tensors.
        wanted = max(end, 2 * len(self.data), _FIRST_READ_BYTES)
        wanted = min(wanted, self.file_size, self._limit)
        self.data += self._file.read_at(len(self.data), wanted - len(self.data))
        return wanted
