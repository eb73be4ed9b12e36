"""Positions: tables of angles, rotation by them, and scales that grow with the position."""

import torch
import triton
from torch import Tensor
from triton import language as tl

from engine.kernels.triton.base import ceil_div
from engine.kernels.triton.norms import laid_out

TILE = 2048


@triton.jit
def cos_sin(angle):
    """Of float32 angles of any size, to about 1e-7.

    Triton's own keep a stack for angles beyond 1e5. Here whole quarters are taken off in float64; the
    polynomials are those of Cephes (cosf, sinf) for -pi/4..pi/4.
    """
    wide = angle.to(tl.float64)
    quarters = tl.floor(wide * 0.6366197723675814 + 0.5)
    r = (wide - quarters * 1.5707963267948966).to(tl.float32)
    square = r * r
    sine = (
        (-1.9515295891e-4 * square + 8.3321608736e-3) * square - 1.6666654611e-1
    ) * square * r + r
    cosine = (2.443315711809948e-5 * square - 1.388731625493765e-3) * square + 4.166664568298827e-2
    cosine = cosine * square * square - 0.5 * square + 1.0
    quarter = quarters.to(tl.int64) & 3
    turned = (quarter & 1) == 1
    cos, sin = tl.where(turned, sine, cosine), tl.where(turned, cosine, sine)
    return tl.where((quarter == 1) | (quarter == 2), -cos, cos), tl.where(quarter >= 2, -sin, sin)


@triton.jit(do_not_specialize=["rows"])
def _table(
    positions,
    lengths,
    short,
    long,
    out,
    rows,
    switch,
    short_factor,
    long_factor,
    N: tl.constexpr,
    SWITCHES: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """SWITCHES: rows whose length is above `switch` have the frequencies `long`."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, BLOCK)
    real, inside = row < rows, (row < rows)[:, None] & (column < N)[None]
    position = tl.load(positions + row, real, 0).to(tl.float32)
    frequency = tl.load(short + column, column < N, 0)[None]
    factor = short_factor
    if SWITCHES:
        is_long = (tl.load(lengths + row, real, 0) > switch)[:, None]
        frequency = tl.where(is_long, tl.load(long + column, column < N, 0)[None], frequency)
        factor = tl.where(is_long, long_factor, short_factor)
    cos, sin = cos_sin(position[:, None] * frequency)
    at = out + row[:, None] * (2 * N) + column[None]
    tl.store(at, cos * factor, inside)
    tl.store(at + N, sin * factor, inside)


@triton.jit
def _rope(
    x,
    table,
    out,
    outer,
    inner,
    HEADS: tl.constexpr,
    D: tl.constexpr,
    HALF: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
    REST: tl.constexpr,
):
    """One row's ROWS heads. REST: columns behind the turned ones, padded; 0 for none."""
    row = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, BLOCK)
    inside = (head < HEADS)[:, None] & (column < HALF)[None]
    cos = tl.load(table + row * (2 * HALF) + column, column < HALF, 0)[None]
    sin = tl.load(table + row * (2 * HALF) + HALF + column, column < HALF, 0)[None]
    begin = x + row * outer + head[:, None] * inner
    into = out + row * (HEADS * D) + head[:, None] * D
    first = tl.load(begin + column[None], inside, 0).to(tl.float32)
    second = tl.load(begin + HALF + column[None], inside, 0).to(tl.float32)
    kind = out.dtype.element_ty
    tl.store(into + column[None], (first * cos - second * sin).to(kind), inside)
    tl.store(into + HALF + column[None], (second * cos + first * sin).to(kind), inside)
    if REST:
        further = 2 * HALF + tl.arange(0, REST)
        left = (head < HEADS)[:, None] & (further < D)[None]
        tl.store(into + further[None], tl.load(begin + further[None], left, 0), left)


@triton.jit
def _scale_by_position(
    x,
    positions,
    out,
    outer,
    inner,
    beta,
    period,
    D: tl.constexpr,
    HEADS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    place = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = place < HEADS * D
    passed = (tl.load(positions + row) // period).to(tl.float32)
    kind = out.dtype.element_ty
    factor = (1 + beta * tl.log(1 + passed)).to(kind).to(tl.float32)
    value = tl.load(x + row * outer + place // D * inner + place % D, inside, 0).to(tl.float32)
    tl.store(out + row * (HEADS * D) + place, (value * factor).to(kind), inside)


def rope_table(positions: Tensor, inv_freq: Tensor, factor: float) -> Tensor:
    return _tabled(positions, positions, inv_freq, inv_freq, 0, (factor, factor), switches=False)


def longrope_table(
    positions: Tensor,
    lengths: Tensor,
    short: Tensor,
    long: Tensor,
    *,
    switch: int,
    factors: tuple[float, float],
) -> Tensor:
    return _tabled(positions, lengths, short, long, switch, factors, switches=True)


def _tabled(
    positions: Tensor,
    lengths: Tensor,
    short: Tensor,
    long: Tensor,
    switch: int,
    factors: tuple[float, float],
    *,
    switches: bool,
) -> Tensor:
    rows, columns = positions.shape[0], short.shape[0]
    out = torch.empty(rows, 2, columns, dtype=torch.float32, device=positions.device)
    height = min(16, triton.next_power_of_2(rows))
    _table[(ceil_div(rows, height),)](
        positions,
        lengths,
        short,
        long,
        out,
        rows,
        switch,
        float(factors[0]),
        float(factors[1]),
        N=columns,
        SWITCHES=switches,
        ROWS=height,
        BLOCK=triton.next_power_of_2(columns),
    )
    return out


def rope(x: Tensor, table: Tensor) -> Tensor:
    rows, heads, width = x.shape
    half = table.shape[2]
    out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    x, _, outer, inner = laid_out(x, heads=heads)
    block = triton.next_power_of_2(half)
    height = min(max(1, TILE // (2 * block)), triton.next_power_of_2(heads))
    rest = width - 2 * half
    _rope[(rows, ceil_div(heads, height))](
        x,
        table,
        out,
        outer,
        inner,
        HEADS=heads,
        D=width,
        HALF=half,
        ROWS=height,
        BLOCK=block,
        REST=triton.next_power_of_2(rest) if rest else 0,
    )
    return out


def scale_by_position(x: Tensor, positions: Tensor, beta: float, period: int) -> Tensor:
    rows, heads, width = x.shape
    out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    x, _, outer, inner = laid_out(x, heads=heads)
    block = min(1024, triton.next_power_of_2(heads * width))
    _scale_by_position[(rows, ceil_div(heads * width, block))](
        x, positions, out, outer, inner, beta, period, D=width, HEADS=heads, BLOCK=block
    )
    return out


KERNELS = {
    "rope_table": rope_table,
    "longrope_table": longrope_table,
    "rope": rope,
    "scale_by_position": scale_by_position,
}
