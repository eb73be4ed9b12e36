"""Norms over the last axis, a row or several in a program; and what else needs a row's statistics."""

import torch
import triton
from torch import Tensor
from triton import language as tl

from engine.kernels.triton.base import ceil_div

TILE = 1024
"""Programs take so many values, or one row if it is longer."""


@triton.jit
def _places(
    rows,
    outer,
    inner,
    HEADS: tl.constexpr,
    N: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Of a tile: its rows, whether each value is one, and where they lie in x and in a dense result."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, BLOCK)
    inside = (row < rows)[:, None] & (column < N)[None]
    begins = row // HEADS * outer + row % HEADS * inner
    return row, column, inside, begins[:, None] + column[None], row[:, None] * N + column[None]


@triton.jit
def _sum(x):
    return tl.sum(x, axis=1)[:, None]


@triton.jit(do_not_specialize=["rows"])
def _rms_norm(
    x,
    y,
    weight,
    total,
    out,
    rows,
    outer,
    inner,
    y_outer,
    y_inner,
    eps,
    N: tl.constexpr,
    HEADS: tl.constexpr,
    ADDS: tl.constexpr,
    MEAN: tl.constexpr,
    WEIGHTED: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """ADDS: of x + y, which goes to `total`. MEAN: else the sum of squares is what counts."""
    row, column, inside, at, dense = _places(rows, outer, inner, HEADS, N, ROWS, BLOCK)
    wide = tl.load(x + at, inside, 0).to(tl.float32)
    if ADDS:
        begins = row // HEADS * y_outer + row % HEADS * y_inner
        wide += tl.load(y + begins[:, None] + column[None], inside, 0).to(tl.float32)
        stored = wide.to(total.dtype.element_ty)
        tl.store(total + dense, stored, inside)
        wide = stored.to(tl.float32)
    square = _sum(wide * wide)
    if MEAN:
        square = square / N
    normed = wide * (1 / tl.sqrt(square + eps))
    if WEIGHTED:
        normed *= tl.load(weight + column, column < N, 0).to(tl.float32)[None]
    tl.store(out + dense, normed.to(out.dtype.element_ty), inside)


@triton.jit(do_not_specialize=["rows"])
def _layer_norm(
    x,
    weight,
    bias,
    out,
    rows,
    outer,
    inner,
    eps,
    N: tl.constexpr,
    HEADS: tl.constexpr,
    OF_HEADS: tl.constexpr,
    WEIGHTED: tl.constexpr,
    BIASED: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """OF_HEADS: each of the HEADS has its own weight and bias."""
    row, column, inside, at, dense = _places(rows, outer, inner, HEADS, N, ROWS, BLOCK)
    wide = tl.load(x + at, inside, 0).to(tl.float32)
    off = tl.where(inside, wide - _sum(wide) / N, 0.0)
    normed = off * (1 / tl.sqrt(_sum(off * off) / N + eps))
    head = row % HEADS if OF_HEADS else row * 0
    learned = head[:, None] * N + column[None]
    if WEIGHTED:
        normed *= tl.load(weight + learned, inside, 0).to(tl.float32)
    if BIASED:
        normed += tl.load(bias + learned, inside, 0).to(tl.float32)
    tl.store(out + dense, normed.to(out.dtype.element_ty), inside)


@triton.jit(do_not_specialize=["rows"])
def _sparsify(
    x,
    out,
    rows,
    outer,
    inner,
    deviations,
    N: tl.constexpr,
    HEADS: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    _row, _column, inside, at, dense = _places(rows, outer, inner, HEADS, N, ROWS, BLOCK)
    wide = tl.load(x + at, inside, 0).to(tl.float32)
    off = tl.where(inside, wide - _sum(wide) / N, 0.0)
    kept = tl.maximum(off - deviations * tl.sqrt(_sum(off * off) / N), 0.0)
    tl.store(out + dense, kept.to(out.dtype.element_ty), inside)


def laid_out(x: Tensor, *, heads: int = 0) -> tuple[Tensor, int, int, int]:
    """Where a kernel finds a row of x (..., n): x, H, outer, inner for row // H * outer + row % H * inner.

    heads: H, where it matters to the caller which row is which head's; else the fewest that do.
    """
    if x.stride(-1) != 1 or x.dim() > 3:
        x = x.contiguous()
    if x.dim() == 3 and (heads or x.stride(0) != x.shape[1] * x.stride(1)):
        return x, x.shape[1], x.stride(0), x.stride(1)
    stride = x.stride(-2) if x.dim() > 1 else x.shape[-1]
    return x, max(1, heads), stride * max(1, heads), stride


def tile(rows: int, columns: int) -> dict[str, int]:
    """How many rows, padded to how many columns, a program takes, and how many warps."""
    block = triton.next_power_of_2(columns)
    height = min(max(1, TILE // block), triton.next_power_of_2(rows))
    return {"ROWS": height, "BLOCK": block, "num_warps": min(32, max(1, height * block // 512))}


def rms_norm(x: Tensor, weight: Tensor | None, eps: float) -> Tensor:
    return _normed(x, None, weight, eps, mean=True)[1]


def l2_norm(x: Tensor, eps: float) -> Tensor:
    return _normed(x, None, None, eps, mean=False)[1]


def add_rms_norm(x: Tensor, y: Tensor, weight: Tensor | None, eps: float) -> tuple[Tensor, Tensor]:
    """What `ops.add` gives of x and y (..., n), and `ops.rms_norm` of that."""
    return _normed(x, y.expand(x.shape), weight, eps, mean=True)


def _normed(
    x: Tensor, y: Tensor | None, weight: Tensor | None, eps: float, *, mean: bool
) -> tuple[Tensor, Tensor]:
    dtype = x.dtype if y is None else torch.result_type(x, y)
    out = torch.empty(x.shape, dtype=dtype, device=x.device)
    total = out if y is None else torch.empty_like(out)
    columns = x.shape[-1]
    rows = x.numel() // columns
    x, heads, outer, inner = laid_out(x)
    y_outer = y_inner = 0
    if y is not None:
        y, y_heads, y_outer, y_inner = laid_out(y)
        if y_heads != heads:  # one of them is a part of something wider
            x, y = x.contiguous(), y.contiguous()
            heads, outer, inner, y_outer, y_inner = 1, columns, columns, columns, columns
    config = tile(rows, columns)
    _rms_norm[(ceil_div(rows, config["ROWS"]),)](
        x,
        x if y is None else y,
        x if weight is None else weight,
        total,
        out,
        rows,
        outer,
        inner,
        y_outer,
        y_inner,
        eps,
        N=columns,
        HEADS=heads,
        ADDS=y is not None,
        MEAN=mean,
        WEIGHTED=weight is not None,
        **config,
    )
    return total, out


def layer_norm(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    columns = x.shape[-1]
    rows = x.numel() // columns
    of_heads = any(each is not None and each.dim() == 2 for each in (weight, bias))
    x, heads, outer, inner = laid_out(x, heads=x.shape[-2] if of_heads else 0)
    config = tile(rows, columns)
    _layer_norm[(ceil_div(rows, config["ROWS"]),)](
        x,
        x if weight is None else weight,
        x if bias is None else bias,
        out,
        rows,
        outer,
        inner,
        eps,
        N=columns,
        HEADS=heads,
        OF_HEADS=of_heads,
        WEIGHTED=weight is not None,
        BIASED=bias is not None,
        **config,
    )
    return out


def sparsify(x: Tensor, deviations: float) -> Tensor:
    out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    columns = x.shape[-1]
    rows = x.numel() // columns
    x, heads, outer, inner = laid_out(x)
    config = tile(rows, columns)
    _sparsify[(ceil_div(rows, config["ROWS"]),)](
        x, out, rows, outer, inner, deviations, N=columns, HEADS=heads, **config
    )
    return out


KERNELS = {
    "rms_norm": rms_norm,
    "l2_norm": l2_norm,
    "layer_norm": layer_norm,
    "sparsify": sparsify,
    "add_rms_norm": add_rms_norm,
}
