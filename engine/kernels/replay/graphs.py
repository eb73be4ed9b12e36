"""Which decode steps are run from a graph, and which graphs are kept. Pure: no tensors, no device.

A graph is of one shape: so many rows, of sequences with at most so many blocks. A batch is filled up to
the next shape there is. One is captured once its shape has come up a few times, since that takes longer
than a step, and never on the way to a first token, since prompts are read without graphs.
"""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Literal

ROWS = (1, 2, 4, 8, 16, 24, 32, 48, 64)

LEAST_TOKENS = 1024
"""Of a context that a shape has room for; from there on in powers of two."""

CAPTURED_AT = 3
"""At its third use a shape is captured. Until then it runs as it is, which compiles its kernels."""

GRAPH_BYTES = 256 * 2**20
"""Of a device's memory that all graphs may take together."""


@dataclass(frozen=True, slots=True)
class Shape:
    """rows: of a batch, one for each sequence. num_blocks: columns of its block tables."""

    rows: int
    num_blocks: int


def shape_for(num_rows: int, longest_context: int, block_size: int) -> Shape | None:
    """The smallest that holds a decode batch; None for more rows than there are shapes of."""
    rows = next((rows for rows in ROWS if rows >= num_rows), None)
    if rows is None:
        return None
    tokens = max(LEAST_TOKENS, 1 << (longest_context - 1).bit_length())
    return Shape(rows, -(-tokens // block_size))


@dataclass(frozen=True, slots=True)
class Key:
    """What a graph is of. owner: a model at its addresses; it has no other graphs after it moved."""

    owner: Hashable
    shape: Shape


Way = Literal["run", "capture", "replay"]


class GraphPolicy:
    """What to do with each use of a shape, and what to let go of when graphs take too much.

    max_bytes: of those that were captured. One that is larger by itself is let go of, too.
    """

    def __init__(self, max_bytes: int = GRAPH_BYTES) -> None:
        self._max_bytes = max_bytes
        self._uses: dict[Key, int] = {}
        self._failed: set[Key] = set()
        self._bytes: OrderedDict[Key, int] = OrderedDict()

    @property
    def num_bytes(self) -> int:
        return sum(self._bytes.values())

    def use(self, key: Key) -> Way:
        """A batch of that shape is to be run: how."""
        if key in self._bytes:
            self._bytes.move_to_end(key)
            return "replay"
        self._uses[key] = self._uses.get(key, 0) + 1
        is_due = self._uses[key] >= CAPTURED_AT and key not in self._failed
        return "capture" if is_due else "run"

    def captured(self, key: Key, num_bytes: int) -> list[Key]:
        """There is a graph of it now. Gives those to let go of, the longest unused first."""
        self._bytes[key] = num_bytes
        gone = []
        while self.num_bytes > self._max_bytes:
            gone.append(self._bytes.popitem(last=False)[0])
        for each in gone:
            self._uses[each] = 0
        if key in gone:
            self._failed.add(key)  # it would come and go with each use
        return gone

    def failed(self, key: Key) -> None:
        """It could not be captured, and is not tried again."""
        self._failed.add(key)

    def wanted(self, owner: Hashable) -> Shape | None:
        """What an idle moment is good for: the largest shape that has come up and has no graph.

        Larger ones first, since graphs share their memory.
        """
        found = [
            key.shape
            for key, count in self._uses.items()
            if key.owner == owner and count and key not in self._bytes and key not in self._failed
        ]
        return max(found, key=lambda shape: (shape.rows, shape.num_blocks), default=None)

    def forget(self, owner: Hashable) -> list[Key]:
        """Its model is at other addresses now, or never comes back. Gives its graphs."""
        gone = [key for key in self._bytes if key.owner == owner]
        for key in gone:
            del self._bytes[key]
        self._uses = {key: count for key, count in self._uses.items() if key.owner != owner}
        self._failed = {key for key in self._failed if key.owner != owner}
        return gone
