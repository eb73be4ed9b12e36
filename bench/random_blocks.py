"""Random weights as they are stored: blocks that any reader takes for values of the right size.

Their codes are noise and their scales all alike: what is computed is nonsense, and takes as long.
"""

import math

import numpy as np
from numpy.typing import NDArray

Blocks = NDArray[np.uint8]

_POOL_BLOCKS = 65_521  # a prime: rows of no size come round again

# Bytes and values of a block, and where its scales are.
SIZES = {
    "F32": (4, 1),
    "BF16": (2, 1),
    "Q8_0": (34, 32),
    "Q4_0": (18, 32),
    "Q4_K": (144, 256),
    "Q6_K": (210, 256),
    "MXFP4": (17, 32),
    "F8_E4M3": (1, 1),
}


class RandomBlocks:
    """Of matrices whose values have a standard deviation of about `spread`."""

    def __init__(self, seed: int = 0) -> None:
        self._random = np.random.default_rng(seed)
        self._pools: dict[tuple[str, float], Blocks] = {}

    def rows(self, form: str, num_values: int, spread: float) -> Blocks:
        """So many values, as bytes. form: a key of SIZES; num_values: whole blocks."""
        size, values = SIZES[form]
        num_blocks, rest = divmod(num_values, values)
        assert not rest, f"{num_values} values are no whole blocks of {form}"
        pool = self._pool(form, spread)
        start = int(self._random.integers(len(pool)))
        first = pool[start : start + num_blocks]
        count = num_blocks - len(first)
        whole, part = divmod(count, len(pool))
        return np.concatenate([first, *[pool] * whole, pool[:part]]).reshape(-1)[
            : num_blocks * size
        ]

    def _pool(self, form: str, spread: float) -> Blocks:
        if (form, spread) not in self._pools:
            self._pools[form, spread] = self._made(form, spread)
        return self._pools[form, spread]

    def _made(self, form: str, spread: float) -> Blocks:
        size, _ = SIZES[form]
        if form in {"F32", "BF16"}:
            numbers = self._random.normal(0, spread, _POOL_BLOCKS * 16).astype(np.float32)
            if form == "F32":
                return numbers.view(np.uint8).reshape(-1, size)
            return (
                (numbers.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8).reshape(-1, size)
            )
        blocks = self._random.integers(0, 256, (_POOL_BLOCKS, size), dtype=np.uint8)
        match form:
            case "Q8_0":
                blocks[:, :2] = _half(spread / 74)  # codes spread evenly over -128 to 127
            case "Q4_0":
                blocks[:, :2] = _half(spread / 4.6)  # over -8 to 7
            case "Q4_K":  # scales and minima spread over 0 to 63, codes over 0 to 15
                blocks[:, 0:2] = _half(spread / 240)
                blocks[:, 2:4] = _half(spread / 240 * 7.5)
            case "Q6_K":  # scales over -128 to 127, codes over -32 to 31
                blocks[:, 208:210] = _half(spread / (74 * 18.5))
            case "MXFP4":  # 0 to 6 and their negatives
                blocks[:, 0] = 127 + round(math.log2(spread / 2.8))
            case "F8_E4M3":  # the scale is stored apart; 0x7f is no number
                blocks = np.where(blocks & 0x7F == 0x7F, 0, blocks)
        return blocks


def _half(value: float) -> NDArray[np.uint8]:
    return np.array([value], dtype=np.float16).view(np.uint8)
