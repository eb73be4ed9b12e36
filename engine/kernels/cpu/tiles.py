"""Matrices in the tiles that the native library multiplies."""

from ctypes import c_int64, c_void_p

import torch
from torch import Tensor

from engine.kernels.cpu.calls import Threads
from engine.kernels.cpu.layouts import (
    ALIGNMENT,
    ROWS,
    format_number,
    tiled_bytes,
    tiled_format,
)
from engine.kernels.cpu.library import library
from engine.kernels.weight import Weight


def tile(weight: Weight, threads: Threads | None = None, out: Tensor | None = None) -> Weight:
    """The same values in tiles: a flat uint8 tensor, aligned as native kernels want it.

    out: where to put it, of `layouts.tiled_bytes`. Raises `LookupError` for a format that has no
    tiled form, and `NativeMissing`.
    """
    name = tiled_format(weight.format, weight.dtype)
    if name is None:
        raise LookupError(f"{weight.format} weights of {weight.dtype} cannot be tiled")
    data = _aligned(tiled_bytes(name, *weight.shape)) if out is None else out
    pack(name, weight, 0, -(-weight.shape[0] // ROWS), data, threads)
    return Weight(name, weight.shape, data, weight.dtype)


def pack(
    name: str, weight: Weight, first: int, last: int, out: Tensor, threads: Threads | None = None
) -> None:
    """Writes tiles first..last of a weight to `out`, which has room for all of them.

    Without threads on the caller's own; several callers may write different tiles.
    """
    rows, scales = weight.data.contiguous(), weight.scales
    scales = None if scales is None else scales.contiguous()
    if len(rows) != weight.shape[0] or out.data_ptr() % ALIGNMENT:
        raise ValueError(f"{weight.shape[0]} rows into tiles at a multiple of {ALIGNMENT}")
    library().rh_tile(
        None if threads is None else threads.pool,
        format_number(name),
        c_void_p(rows.data_ptr()),
        c_int64(rows.stride(0) * rows.element_size()),
        c_void_p(0 if scales is None else scales.data_ptr()),
        c_int64(0 if scales is None else scales.stride(0) * scales.element_size()),
        c_int64(weight.shape[0]),
        c_int64(weight.shape[1]),
        c_int64(first),
        c_int64(last),
        c_void_p(out.data_ptr()),
    )


def untile(weight: Weight, which: Tensor | None = None) -> Tensor:
    """Rows of a tiled weight, all or those of some indices: (n, in) float32, exactly as stored."""
    indices = None if which is None else which.to(torch.int64).contiguous()
    count = weight.shape[0] if indices is None else indices.numel()
    values = torch.empty(count, weight.shape[1])
    library().rh_untile(
        None,
        format_number(weight.format),
        c_void_p(weight.data.data_ptr()),
        c_int64(weight.shape[1]),
        c_void_p(None if indices is None else indices.data_ptr()),
        c_int64(count),
        c_void_p(values.data_ptr()),
    )
    return values


def _aligned(nbytes: int) -> Tensor:
    room = torch.empty(nbytes + ALIGNMENT, dtype=torch.uint8)
    start = -room.data_ptr() % ALIGNMENT
    return room[start : start + nbytes]
