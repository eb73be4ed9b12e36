"""Random weights in every format that can be tiled, and what the tests of tiles share."""

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from engine.kernels.cpu import library
from engine.kernels.weight import Weight
from engine.quant import integers
from engine.quant.formats import FORMATS
from engine.quant.scaled import SCALE_BLOCK

_HAS_NEON = platform.machine() in ("aarch64", "arm64")

ISAS = ("portable", "neon") if _HAS_NEON else ("portable", "avx2", "avx512")

_HALVES = {
    "Q4_0": (0,),
    "Q4_1": (0, 2),
    "Q5_0": (0,),
    "Q5_1": (0, 2),
    "Q8_0": (0,),
    "Q2_K": (80, 82),
    "Q3_K": (108,),
    "Q4_K": (0, 2),
    "Q5_K": (0, 2),
    "Q6_K": (208,),
    "IQ4_NL": (0,),
    "IQ4_XS": (0,),
}
"""Where a block has float16 numbers."""

CODED = (*_HALVES, "MXFP4")
PLAIN = (torch.float32, torch.bfloat16, torch.float16)
INTEGERS = tuple(kind.name for kind in integers.FORMATS)
NAMES = (*CODED, *map(str, PLAIN), "FP8_BLOCK", "FP8_ROW", "MXFP4_SPLIT", *INTEGERS)

needs_library = pytest.mark.skipif(
    not library.is_available(), reason="the native library is not built"
)


def random_bytes(name: str, rows: int, columns: int) -> Weight:
    """Any bits at all, in a format of GGML's."""
    kind = FORMATS[name]
    shape = (rows, columns // kind.block_size * kind.block_bytes)
    data = torch.randint(0, 256, shape, dtype=torch.uint8)
    return Weight(name, (rows, columns), data, torch.float32)


def random_weight(name: str, rows: int, columns: int) -> Weight:
    """Any codes, with scales of a model's size. name: of NAMES."""
    if name.startswith("torch."):
        return Weight.dense(torch.randn(rows, columns).to(getattr(torch, name[6:])))
    if name in FORMATS:
        weight = random_bytes(name, rows, columns)
        _tame(name, weight.data.view(rows, -1, FORMATS[name].block_bytes))
        return weight
    if name == "MXFP4_SPLIT":
        codes = torch.randint(0, 256, (rows, columns // 2), dtype=torch.uint8)
        scales = torch.randint(118, 124, (rows, columns // 32), dtype=torch.uint8)
        return Weight(name, (rows, columns), codes, torch.float32, scales)
    if name in INTEGERS:
        return _random_integers(name, rows, columns)
    codes = torch.randn(rows, columns).to(torch.float8_e4m3fn).view(torch.uint8)
    count = 1 if name == "FP8_ROW" else -(-columns // SCALE_BLOCK)
    return Weight(name, (rows, columns), codes, torch.float32, torch.rand(rows, count) + 0.5)


def _random_integers(name: str, rows: int, columns: int) -> Weight:
    """Zeros among them that no symmetric quantiser has."""
    most = 16 if "INT4" in name else 256
    shape = (rows, columns // 2 if most == 16 else columns)
    codes = torch.randint(0, 256, shape, dtype=torch.uint8)
    scales = torch.rand(rows, integers.num_pairs(name, columns)) * 0.02 + 0.001
    zeros = torch.randint(0, most, scales.shape).float()
    pairs = torch.stack((scales, zeros), dim=2).flatten(1)
    return Weight(name, (rows, columns), codes, torch.float32, pairs)


def _tame(name: str, blocks: Tensor) -> None:
    if name == "MXFP4":
        blocks[:, :, 0] = torch.randint(118, 124, blocks.shape[:2])
    for offset in _HALVES.get(name, ()):
        numbers = (torch.rand(blocks.shape[:2]) * 0.02 + 0.001).half()
        blocks[:, :, offset : offset + 2] = numbers.view(torch.uint8).view(*blocks.shape[:2], 2)


def can_be(name: str, columns: int) -> bool:
    """Whether a row can have so many columns."""
    if name in FORMATS:
        return columns % FORMATS[name].block_size == 0
    if name.startswith("INT4"):
        return columns % 2 == 0
    return columns % 32 == 0 or not name.startswith("MXFP4")


@contextmanager
def limited_to(isa: str) -> Iterator[ctypes.CDLL]:
    """The library with a lesser code path; skips the test where the CPU does not have it."""
    loaded = library.library()
    best = library.isa()
    library.limit_isa(loaded, isa)
    try:
        if library.isa() != isa:
            pytest.skip(f"this CPU has no {isa}")
        yield loaded
    finally:
        library.limit_isa(loaded, best)
