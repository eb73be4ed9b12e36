"""Which blocks of the paged cache are in use, by how many, and which may be taken next."""

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Sequence


class BlockPool:
    """Reference counts over a fixed number of blocks.

    A block that nobody holds is either blank or kept: kept blocks still hold tokens worth reusing
    and are handed out last, the longest unused first. `on_evict` hears of each one so lost.
    """

    def __init__(self, num_blocks: int, on_evict: Callable[[int], None]) -> None:
        self.num_blocks = num_blocks
        self._on_evict = on_evict
        self._references = [0] * num_blocks
        self._blank = list(reversed(range(num_blocks)))
        self._kept: OrderedDict[int, None] = OrderedDict()

    @property
    def num_free(self) -> int:
        """Blocks that nobody holds."""
        return len(self._blank) + len(self._kept)

    @property
    def blanks(self) -> Sequence[int]:
        return self._blank

    def is_held(self, block: int) -> bool:
        return self._references[block] > 0

    def take(self) -> int:
        """A block to write to, held once. There must be a free one."""
        if self._blank:
            block = self._blank.pop()
        else:
            block, _ = self._kept.popitem(last=False)
            self._on_evict(block)
        self._references[block] = 1
        return block

    def share(self, block: int) -> None:
        """Holds a block once more, for reading."""
        self._kept.pop(block, None)
        self._references[block] += 1

    def release(self, block: int, keep: bool) -> None:
        """Gives up one hold; the last one leaves the block kept or blank."""
        assert self._references[block] > 0, f"block {block} is not held"
        self._references[block] -= 1
        if self._references[block]:
            return
        if keep:
            self._kept[block] = None
        else:
            self._blank.append(block)

    def blank(self, block: int) -> None:
        """What a kept block holds is of no more use: it is the next to be taken."""
        del self._kept[block]
        self._blank.append(block)

    def check(self, held: Iterable[int]) -> None:
        """Asserts that `held` lists every hold there is, and that no block is lost or doubled."""
        counts = Counter(held)
        for block, references in enumerate(self._references):
            assert references == counts[block], f"block {block}: {references} != {counts[block]}"
        free = [*self._blank, *self._kept]
        assert len(set(free)) == len(free), "a block is free twice"
        assert set(free) == {block for block in range(self.num_blocks) if not counts[block]}
