from collections.abc import Sequence
from itertools import accumulate

from torch import Tensor

from engine.kernels import ops


def split_columns(x: Tensor, sizes: Sequence[int]) -> list[Tensor]:
    """The parts of (T, n) that a projection gives side by side, so many columns each."""
    ends = list(accumulate(sizes))
    return [ops.select_columns(x, end - size, end) for size, end in zip(sizes, ends, strict=True)]
