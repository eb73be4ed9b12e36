"""Elementwise, and whole rows or columns."""

import torch
from torch import Tensor

from engine.kernels.ops.op import like, op


@op
def silu_mul(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) * up, as in SwiGLU (arXiv:2002.05202)."""
    return like(gate, *gate.shape)


@op
def gelu_tanh_mul(gate: Tensor, up: Tensor) -> Tensor:
    """gelu(gate) * up with gelu in its tanh form, as in GeGLU (arXiv:2002.05202).

    In the wider of their dtypes.
    """
    return like(gate if gate.dtype.itemsize >= up.dtype.itemsize else up, *gate.shape)


@op
def clamped_swiglu(gate: Tensor, up: Tensor, alpha: float, limit: float) -> Tensor:
    """(u + 1) * g * sigmoid(alpha * g), g = min(gate, limit), u = up within +-limit: GPT-OSS's."""
    return like(gate, *gate.shape)


@op
def sigmoid_mul(gate: Tensor, x: Tensor) -> Tensor:
    """sigmoid(gate) * x. gate: of x's shape, or (T, 1) beside x (T, n)."""
    return like(x, *x.shape)


@op
def silu(x: Tensor) -> Tensor:
    """x * sigmoid(x), computed in float32, in x's dtype."""
    return like(x, *x.shape)


@op
def gelu(x: Tensor) -> Tensor:
    """x * Phi(x), Phi the normal distribution's, as in arXiv:1606.08415."""
    return like(x, *x.shape)


@op
def gelu_tanh(x: Tensor) -> Tensor:
    """`gelu` in its tanh form."""
    return like(x, *x.shape)


@op
def relu_squared(x: Tensor) -> Tensor:
    """max(x, 0)^2 (Primer, arXiv:2109.08668)."""
    return like(x, *x.shape)


@op
def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + exp(-x))."""
    return like(x, *x.shape)


@op
def tanh(x: Tensor) -> Tensor:
    """The hyperbolic tangent."""
    return like(x, *x.shape)


@op
def exp(x: Tensor) -> Tensor:
    """e to the power of x."""
    return like(x, *x.shape)


@op
def lerp(x: Tensor, y: Tensor, factors: Tensor) -> Tensor:
    """x + (y - x) * factors in float32, in x's dtype: (T, n). factors: (n,) or (T, n)."""
    return like(x, *x.shape)


@op
def clamp(x: Tensor, limit: float) -> Tensor:
    """x, kept within -limit..limit."""
    return like(x, *x.shape)


@op
def widen(x: Tensor) -> Tensor:
    """x in float32."""
    return like(x, *x.shape, dtype=torch.float32)


@op
def add(x: Tensor, y: Tensor) -> Tensor:
    """x + y, of one shape or y (n,) to each row, in the wider of their dtypes."""
    return like(x if x.dtype.itemsize >= y.dtype.itemsize else y, *x.shape)


@op
def scale(x: Tensor, factor: float) -> Tensor:
    """x * factor, with the factor rounded to x's dtype first, as a stored constant would be."""
    return like(x, *x.shape)


@op
def mul(x: Tensor, factors: Tensor) -> Tensor:
    """x (T, n) times factors (T, n), (n,) or (1,), computed in float32; in x's dtype."""
    return like(x, *x.shape)


@op
def scale_by(x: Tensor, factors: Tensor, index: Tensor) -> Tensor:
    """x * factors[index]: (T, k) all float32. index: (T, k) int64 into factors (n,)."""
    return like(x, *x.shape)


@op
def sparsify(x: Tensor, deviations: float) -> Tensor:
    """relu(x - m - deviations * s), m and s the mean and deviation of each row's n values.

    Gemma 3n's "activation sparsity": of a normal row, only the largest remain.
    """
    return like(x, *x.shape)


@op
def softcap(x: Tensor, cap: float) -> Tensor:
    """cap * tanh(x / cap)."""
    return like(x, *x.shape)


@op
def select_columns(x: Tensor, first: int, last: int) -> Tensor:
    """The values first..last of the last axis of x (..., n): (..., last - first)."""
    return like(x, *x.shape[:-1], last - first)


@op
def concat(x: Tensor, y: Tensor) -> Tensor:
    """x (..., n) and y (..., m), of one dtype, end to end: (..., n + m)."""
    return like(x, *x.shape[:-1], x.shape[-1] + y.shape[-1])


@op
def select_rows(x: Tensor, rows: Tensor) -> Tensor:
    """The rows (R,) of x (T, n): (R, n)."""
    return like(x, rows.shape[0], *x.shape[1:])


@op
def ids_below(token_ids: Tensor, limit: int) -> Tensor:
    """token_ids (T,), with 0 for those that are not below `limit`."""
    return like(token_ids, *token_ids.shape)
