"""Elementwise ops for which torch would launch several kernels.

Left to torch, which has one kernel or a view for each: add, silu, gelu, gelu_tanh, sigmoid, tanh, exp,
clamp, widen, concat, select_rows, select_columns, select_stream, split_heads, merge_heads; and
ids_below, once a step.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
import triton
from torch import Tensor
from triton import language as tl

from engine.kernels.triton.base import ceil_div

BLOCK = 1024


@triton.jit
def tanh(x):
    """In float32; near 0, where 1 - e^-2x would cancel, by its series."""
    size = tl.abs(x)
    decay = tl.exp(-2 * size)
    far = (1 - decay) / (1 + decay)
    square = x * x
    near = x * (1 - square * (1.0 / 3 - square * (2.0 / 15)))
    return tl.where(size < 0.05, near, tl.where(x < 0, -far, far))


@triton.jit
def _applied(x, y, z, a, b, OP: tl.constexpr):
    if OP == "silu_mul":
        result = x * tl.sigmoid(x) * y
    elif OP == "gelu_tanh_mul":
        # (1 + tanh(u)) / 2 is sigmoid(2 u), and 2 sqrt(2 / pi) is 1.5957691216
        result = x * tl.sigmoid(1.5957691216057308 * (x + 0.044715 * x * x * x)) * y
    elif OP == "clamped_swiglu":
        gate = tl.minimum(x, b)
        result = (tl.minimum(tl.maximum(y, -b), b) + 1) * gate * tl.sigmoid(a * gate)
    elif OP == "sigmoid_mul":
        result = x * tl.sigmoid(y)
    elif OP == "relu_squared":
        kept = tl.maximum(x, 0.0)
        result = kept * kept
    elif OP == "lerp":
        result = x + (y - x) * z
    elif OP == "mul":
        result = x * y
    else:
        tl.static_assert(OP == "softcap")
        result = a * tanh(x / a)
    return result


@triton.jit(do_not_specialize=["units", "a", "b"])
def _pointwise(
    x,
    y,
    z,
    out,
    units,
    x_stride,
    y_stride,
    z_stride,
    a,
    b,
    OP: tl.constexpr,
    BINARY: tl.constexpr,
    COLUMNS: tl.constexpr,
    UNIT: tl.constexpr,
    Y_STEP: tl.constexpr,
    Z_STEP: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One row's block of COLUMNS, or where these are 0 a block of units * UNIT values in one long row."""
    if COLUMNS:
        row = tl.program_id(0).to(tl.int64)
        places = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
        inside = places < COLUMNS
        into = out + row * COLUMNS
    else:
        row = tl.zeros((), tl.int64)
        places = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        inside = places < units * UNIT  # a multiple that the compiler sees: whole vectors
        into = out
    of_x = tl.load(x + row * x_stride + places, inside, 0).to(tl.float32)
    of_y = of_x
    of_z = of_x
    if BINARY:
        of_y = tl.load(y + row * y_stride + places * Y_STEP, inside, 0).to(tl.float32)
    if OP == "lerp":
        of_z = tl.load(z + row * z_stride + places * Z_STEP, inside, 0).to(tl.float32)
    result = _applied(of_x, of_y, of_z, a, b, OP)
    tl.store(into + places, result.to(out.dtype.element_ty), inside)


@triton.jit
def _scale_by(x, factors, index, out, COLUMNS: tl.constexpr, BLOCK: tl.constexpr):
    places = tl.arange(0, BLOCK)
    inside = places < COLUMNS
    at = tl.program_id(0).to(tl.int64) * COLUMNS + places
    chosen = tl.load(factors + tl.load(index + at, inside, 0), inside, 0)
    tl.store(out + at, tl.load(x + at, inside, 0) * chosen, inside)


@dataclass(frozen=True, slots=True)
class Operand:
    """A tensor beside rows of values: where a row begins, and whether its columns differ."""

    tensor: Tensor
    stride: int
    step: int


def operand(y: Tensor, x: Tensor) -> Operand:
    """How y is read beside x (..., n): of its shape, one value or a row for all, or one of each row."""
    columns = x.shape[-1]
    step = int(y.dim() > 0 and y.shape[-1] != 1)
    if y.numel() == (columns if step else 1):
        return Operand(y.contiguous(), 0, step)
    if y.shape != x.shape and y.shape != (*x.shape[:-1], 1):
        y, step = y.expand(x.shape), 1
    rows = rows_of(y)
    return Operand(rows, rows.stride(0), step)


def rows_of(x: Tensor) -> Tensor:
    """Of x (..., n) its rows (T, n), whose values lie side by side."""
    rows = x.reshape(-1, x.shape[-1])
    return rows if rows.stride(1) == 1 or rows.shape[1] == 1 else rows.contiguous()


def pointwise(
    op: str,
    x: Tensor,
    y: Tensor | None = None,
    z: Tensor | None = None,
    *,
    a: float = 0.0,
    b: float = 0.0,
    dtype: torch.dtype,
) -> Tensor:
    """OP of x and what goes with it, in float32, as `dtype` and in x's shape."""
    out = torch.empty(x.shape, dtype=dtype, device=x.device)
    if not out.numel():
        return out
    rows = Operand(rows_of(x), 0, 1)
    others = [rows if each is None else operand(each, x) for each in (y, z)]
    tensors = (rows, *others)
    columns, count, unit = x.shape[-1], out.numel(), 1
    if all(each.tensor.shape == (count // columns, columns) for each in tensors) and all(
        each.tensor.is_contiguous() for each in tensors
    ):
        columns, unit, width, steps = 0, 16 if count % 16 == 0 else 1, count, (1, 1)
        grid: tuple[int, ...] = (ceil_div(count, BLOCK),)
    else:
        width, steps = columns, (others[0].step, others[1].step)
        grid = (count // columns, ceil_div(columns, BLOCK))
    _pointwise[grid](
        rows.tensor,
        others[0].tensor,
        others[1].tensor,
        out,
        count // unit,
        rows.tensor.stride(0),
        others[0].stride,
        others[1].stride,
        a,
        b,
        OP=op,
        BINARY=y is not None,
        COLUMNS=columns,
        UNIT=unit,
        Y_STEP=steps[0],
        Z_STEP=steps[1],
        BLOCK=min(BLOCK, triton.next_power_of_2(width)),
    )
    return out


def silu_mul(gate: Tensor, up: Tensor) -> Tensor:
    return pointwise("silu_mul", gate, up, dtype=torch.result_type(gate, up))


def gelu_tanh_mul(gate: Tensor, up: Tensor) -> Tensor:
    return pointwise("gelu_tanh_mul", gate, up, dtype=torch.result_type(gate, up))


def clamped_swiglu(gate: Tensor, up: Tensor, alpha: float, limit: float) -> Tensor:
    dtype = torch.result_type(gate, up)
    return pointwise("clamped_swiglu", gate, up, a=alpha, b=limit, dtype=dtype)


def sigmoid_mul(gate: Tensor, x: Tensor) -> Tensor:
    return pointwise("sigmoid_mul", x, gate, dtype=torch.result_type(gate, x))


def relu_squared(x: Tensor) -> Tensor:
    return pointwise("relu_squared", x, dtype=x.dtype)


def lerp(x: Tensor, y: Tensor, factors: Tensor) -> Tensor:
    return pointwise("lerp", x, y, factors, dtype=x.dtype)


def mul(x: Tensor, factors: Tensor) -> Tensor:
    return pointwise("mul", x, factors, dtype=x.dtype)


def softcap(x: Tensor, cap: float) -> Tensor:
    return pointwise("softcap", x, a=cap, dtype=x.dtype)


def scale(x: Tensor, factor: float) -> Tensor:
    return x * _rounded(factor, x.dtype)


def scale_by(x: Tensor, factors: Tensor, index: Tensor) -> Tensor:
    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    columns = x.shape[-1]
    block = triton.next_power_of_2(columns)
    _scale_by[(x.numel() // columns,)](
        x.contiguous(), factors, index.contiguous(), out, COLUMNS=columns, BLOCK=block, num_warps=1
    )
    return out


@lru_cache(1024)
def _rounded(factor: float, dtype: torch.dtype) -> float:
    return float(torch.tensor(factor, dtype=dtype))


KERNELS = {
    "silu_mul": silu_mul,
    "gelu_tanh_mul": gelu_tanh_mul,
    "clamped_swiglu": clamped_swiglu,
    "sigmoid_mul": sigmoid_mul,
    "relu_squared": relu_squared,
    "lerp": lerp,
    "mul": mul,
    "softcap": softcap,
    "scale": scale,
    "scale_by": scale_by,
}
