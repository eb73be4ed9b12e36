import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from engine.checkpoint.errors import CheckpointError
from engine.checkpoint.gguf_cursor import MAX_STRING_BYTES, GGUFCursor

_BOOL, _STRING, _ARRAY = 7, 8, 9
_LAYOUTS = {
    0: struct.Struct("<B"),
    1: struct.Struct("<b"),
    2: struct.Struct("<H"),
    3: struct.Struct("<h"),
    4: struct.Struct("<I"),
    5: struct.Struct("<i"),
    6: struct.Struct("<f"),
    _BOOL: struct.Struct("<?"),
    10: struct.Struct("<Q"),
    11: struct.Struct("<q"),
    12: struct.Struct("<d"),
}
_U32, _U64 = _LAYOUTS[4], _LAYOUTS[10]


@dataclass(frozen=True, slots=True)
class PackedArray:
    """An array that was checked but not decoded: its elements begin at byte `start`."""

    element: int
    count: int
    start: int


Value = str | int | float | bool | PackedArray


def read_value(cursor: GGUFCursor, key: str) -> Value:
    """A value with its type before it; arrays are stepped over and stay packed."""
    start = cursor.position
    kind = cursor.number(_U32)
    if kind == _ARRAY:
        return _read_array(cursor, key)
    if kind == _STRING:
        return cursor.text(f"the value of {key!r}", MAX_STRING_BYTES)
    layout = _LAYOUTS.get(kind)
    if layout is None:
        raise cursor.error(f"{key!r} has unknown value type {kind}", start)
    begin = cursor.position
    value = cursor.unpack(layout)[0]
    if kind == _BOOL:
        _check_bools(cursor, key, begin)
    return value


def _read_array(cursor: GGUFCursor, key: str) -> PackedArray:
    start = cursor.position
    element = cursor.number(_U32)
    count = cursor.number(_U64)
    layout = _LAYOUTS.get(element)
    if layout is None and element != _STRING:
        what = "arrays of arrays" if element == _ARRAY else f"unknown element type {element}"
        raise cursor.error(f"{key!r} has {what}", start)
    # Before anything is walked or kept: a count of 2^60 costs nothing.
    smallest = 8 if layout is None else layout.size
    if count * smallest > cursor.remaining:
        what = f"{key!r} claims {count} elements, more than the file can hold"
        raise cursor.error(what, start + 4)
    begin = cursor.position
    if layout is None:
        cursor.skip_strings(count)
    else:
        cursor.skip(count * layout.size)
    if element == _BOOL:
        _check_bools(cursor, key, begin)
    return PackedArray(element, count, begin)


def _check_bools(cursor: GGUFCursor, key: str, begin: int) -> None:
    stored = cursor.data[begin : cursor.position]
    if stored.translate(None, b"\0\1"):
        raise cursor.error(f"{key!r} has a bool that is neither 0 nor 1", begin)


class GGUFMetadata(Mapping[str, Any]):
    """A header's keys and values: str, int, float, bool, and lists of one of these.

    A list is decoded when it is first asked for and kept. It alone can still fail then: a string in
    it that is not UTF-8 raises `CheckpointError`.
    """

    def __init__(self, file_name: str, header: bytearray, values: Mapping[str, Value]) -> None:
        self._file_name = file_name
        self._header = header
        self._values = values
        self._lists: dict[str, list[Any]] = {}

    def __getitem__(self, key: str) -> Any:
        value = self._values[key]
        if not isinstance(value, PackedArray):
            return value
        if key not in self._lists:
            self._lists[key] = self._decode(key, value)
        return self._lists[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, key: object) -> bool:
        return key in self._values  # Mapping's own would decode the value

    def count(self, key: str) -> int | None:
        """Number of elements of an array, without decoding it; None where there is no array."""
        value = self._values.get(key)
        return value.count if isinstance(value, PackedArray) else None

    def has_text(self, key: str, text: str) -> bool:
        """Whether an array of strings, or one that comes after it, holds this; decodes neither."""
        value = self._values.get(key)
        if not isinstance(value, PackedArray) or value.element != _STRING:
            return False
        raw = text.encode()
        return self._header.find(_U64.pack(len(raw)) + raw, value.start) >= 0

    def _decode(self, key: str, array: PackedArray) -> list[Any]:
        if array.element == _STRING:
            return self._decode_strings(key, array)
        element = _LAYOUTS[array.element].format[1:]
        return list(struct.unpack_from(f"<{array.count}{element}", self._header, array.start))

    def _decode_strings(self, key: str, array: PackedArray) -> list[str]:
        header, position, unpack = self._header, array.start, _U64.unpack_from
        strings = []
        try:
            for _ in range(array.count):
                begin = position + 8
                position = begin + unpack(header, position)[0]
                strings.append(header[begin:position].decode())
        except UnicodeDecodeError:
            what = f"a string of {key!r} is not UTF-8 (at byte {begin})"
            raise CheckpointError(f"{self._file_name}: {what}") from None
        return strings
