"""The file of an image: a header with a table of what follows, then segments.

Magic, version, the table's size and checksum, little-endian; the table, MessagePack; zeros up to a
multiple of the page size; segments, each at a multiple of 64 bytes.
"""

import os
import struct
from collections import deque
from collections.abc import Sequence
from itertools import islice

import msgspec
import numpy as np
from msgspec import Struct

from engine.residency.checksum import checksum
from engine.residency.image_plan import VERSION, ImagePlan

_MAGIC = b"RHIMAGE\0"
_HEAD = struct.Struct("<8sIIQ")

_VIEWS_AT_ONCE = 512
"""As many as a pwritev takes on any system, and fewer."""


class DamagedImage(Exception):
    """A file is not the image that it should be; the message says where it differs."""


class _Table(Struct, frozen=True):
    plan: ImagePlan
    checksums: tuple[int, ...]


def write_header(descriptor: int, plan: ImagePlan, checksums: Sequence[int]) -> None:
    """Goes last: a file without it is no image."""
    table = msgspec.msgpack.encode(_Table(plan, tuple(checksums)))
    head = _HEAD.pack(_MAGIC, VERSION, len(table), _checksum_of(table))
    assert len(head) + len(table) <= plan.first_byte, "the header has its room"
    write_all(descriptor, [memoryview(head + table)], 0)


def read_header(descriptor: int, plan: ImagePlan) -> tuple[int, ...]:
    """The segments' checksums. Raises `DamagedImage` unless the file holds exactly that plan.

    Nothing that the file says of sizes is relied on: the plan knows them.
    """
    size = os.fstat(descriptor).st_size
    if size != plan.file_bytes:
        raise DamagedImage(f"has {size} bytes, not {plan.file_bytes}")
    room = os.pread(descriptor, plan.first_byte, 0)
    magic, version, table_bytes, expected = _HEAD.unpack_from(room)
    table = room[_HEAD.size : _HEAD.size + table_bytes]
    if (magic, version) != (_MAGIC, VERSION) or _checksum_of(table) != expected:
        raise DamagedImage("its header is damaged")
    return _decoded(table, plan)


def _decoded(table: bytes, plan: ImagePlan) -> tuple[int, ...]:
    try:
        decoded = msgspec.msgpack.decode(table, type=_Table)
    except msgspec.DecodeError as error:
        raise DamagedImage(f"its table is damaged: {error}") from None
    if decoded.plan != plan or len(decoded.checksums) != len(plan.segments):
        raise DamagedImage("its table is of another image")
    return decoded.checksums


def write_all(descriptor: int, data: Sequence[memoryview], offset: int) -> None:
    """One after the other. One pwritev may take less than it was given."""
    waiting = deque(view for view in data if view.nbytes)
    while waiting:
        written = os.pwritev(descriptor, list(islice(waiting, _VIEWS_AT_ONCE)), offset)
        offset += written
        while waiting and written >= waiting[0].nbytes:
            written -= waiting.popleft().nbytes
        if written:
            waiting[0] = waiting[0][written:]


def _checksum_of(table: bytes) -> int:
    return checksum(np.frombuffer(table, np.uint8))
