"""What a row in planes has where, as kernels read it: words of packed codes, entries of what scales them.

A thread reads whole runs of 32 values, 16 bytes at a time, and what scales them: axes that are said to be more
contiguous are shared out among threads first (so in Triton 3.6, which goes by nothing else, and in 3.9).
"""

from typing import Any

import triton
from triton import language as tl

from engine.kernels.plane_layouts import OF_HALF_RUNS, PLANE_FORMATS, PLANES

_LAYOUTS = tl.constexpr(
    tuple(
        (PLANES + name, (layout.bits, layout.planes, layout.zero, name in OF_HALF_RUNS))
        for name, layout in PLANE_FORMATS.items()
    )
)
"""What kernels are compiled for, so that a change of it is one of theirs, in Triton's cache, too."""


@triton.constexpr_function
def _layout(format_name: Any) -> Any:
    return dict(_LAYOUTS.value)[format_name]


@triton.constexpr_function
def is_dense(format_name: Any) -> Any:
    return format_name not in dict(_LAYOUTS.value)


@triton.constexpr_function
def is_named(format_name: Any, *names: str) -> Any:
    return format_name.partition(":")[2] in names


@triton.constexpr_function
def code_bits(format_name: Any, plane: int) -> Any:
    """Of a plane of codes; 0 where there are fewer."""
    bits = _layout(format_name)[0]
    return bits[plane] if plane < len(bits) else 0


@triton.constexpr_function
def first_scales(format_name: Any) -> Any:
    """Which plane they are in."""
    return len(_layout(format_name)[0])


@triton.constexpr_function
def entry_bytes(format_name: Any, plane: int) -> Any:
    return _layout(format_name)[1][plane][0]


@triton.constexpr_function
def entry_runs(format_name: Any, plane: int) -> Any:
    """How many runs of 32 values an entry is for."""
    return _layout(format_name)[1][plane][1] // 32


@triton.constexpr_function
def code_zero(format_name: Any) -> Any:
    return _layout(format_name)[2]


@triton.constexpr_function
def shares(format_name: Any) -> Any:
    """How many scales a run of 32 values has."""
    return 2 if _layout(format_name)[3] else 1


@triton.constexpr_function
def has_offsets(format_name: Any) -> Any:
    """Whether the values of `tiny_codes` lack more than their scale."""
    return not is_named(format_name, "F8", "MXFP4", "IQ4_NL", "IQ4_XS")


@triton.constexpr_function
def has_minima(format_name: Any) -> Any:
    return is_named(format_name, "Q4_1", "Q5_1", "Q4_K", "Q5_K", "Q2_K")


@triton.jit
def read_words(rows, start, K, BITS: tl.constexpr, BLOCK_K: tl.constexpr, WHOLE: tl.constexpr):
    """(R, BLOCK_K / 32, BITS) uint32 of a plane of codes that begins at `rows`."""
    R: tl.constexpr = rows.shape[0]
    RUNS: tl.constexpr = BLOCK_K // 32
    EACH: tl.constexpr = min(BITS, 4)
    runs = start // 32 + tl.arange(0, RUNS)
    places = tl.arange(0, BITS // EACH)[:, None, None] * EACH + tl.arange(0, EACH)[None, None, :]
    places += runs[None, :, None] * BITS
    pointers = rows.to(tl.pointer_type(tl.uint32))[None, :, None, None] + places[:, None, :, :]
    # A thread has whole runs, its neighbour the next.
    pointers = tl.max_contiguous(pointers, (1, 2, 4, 8))
    if BITS == 1:
        pointers = tl.multiple_of(pointers, (4, 4, 4, 4))
    if WHOLE:
        words = tl.load(pointers)
    else:
        words = tl.load(pointers, (runs * 32 < K)[None, None, :, None], other=0)
    return tl.reshape(tl.permute(words, (1, 2, 0, 3)), (R, RUNS, BITS))


@triton.jit
def read_entries(
    rows, start, K, FORMAT: tl.constexpr, PLANE: tl.constexpr, TYPE: tl.constexpr,
    BLOCK_K: tl.constexpr, WHOLE: tl.constexpr,
):  # fmt: skip
    """(R, BLOCK_K / 32): what a plane of scales has for each run."""
    runs = start // 32 + tl.arange(0, BLOCK_K // 32)
    places = runs // entry_runs(FORMAT, PLANE)
    pointers = plane_of(rows, K, FORMAT, PLANE).to(tl.pointer_type(TYPE))[:, None] + places[None, :]
    # A run's entries belong to the thread that has its codes.
    pointers = tl.max_contiguous(pointers, (1, 2))
    pointers = tl.multiple_of(pointers, (entry_bytes(FORMAT, PLANE), entry_bytes(FORMAT, PLANE)))
    is_there = None if WHOLE else (runs * 32 < K)[None, :]
    return tl.load(pointers, is_there, other=None if WHOLE else 0)


@triton.jit
def plane_of(rows, K, FORMAT: tl.constexpr, PLANE: tl.constexpr):
    """rows, where a plane of them begins."""
    offset = 0
    for before in tl.static_range(PLANE):
        entries = tl.cdiv(K, 32 * entry_runs(FORMAT, before))
        offset += tl.cdiv(entries * entry_bytes(FORMAT, before), 16) * 16
    return rows + offset
