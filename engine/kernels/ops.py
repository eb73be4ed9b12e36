"""The op vocabulary: all that blocks and families may do with tensors.

Each op is stated once, here: its signature, its contract, and as its body the shape of its result.
Called with tensors, it runs the kernel that `engine.kernels.registry` has for the device (and for
the weight's format); called with tensors of a recording, its body runs and the call is recorded.
The torch reference of each, and the oracle of every kernel test, is in `engine.kernels.reference`.

T: rows (tokens) of a batch. H: query heads, Hkv: heads of the cache. d: head_dim.
"""
# ruff: noqa: ARG001  # the shape of a result does not depend on every argument
# ruff: noqa: D403  # contracts begin with the formula, and formulas with a name

from collections.abc import Callable, Sequence
from functools import wraps
from inspect import signature
from typing import ParamSpec, TypeVar, cast

import torch
from torch import Tensor

from engine.kernels import (
    reference,  # noqa: F401  # registers the torch kernels
    reference_attention,  # noqa: F401  # as reference
    registry,
)
from engine.kernels.batch import BatchLayout
from engine.kernels.registry import Kernel
from engine.kernels.trace import Traced
from engine.kernels.weight import Weight

P = ParamSpec("P")
R = TypeVar("R", bound=Tensor | None)

OPS: dict[str, Callable[..., Tensor | None]] = {}
"""The vocabulary by name."""


def op(rule: Callable[P, R]) -> Callable[P, R]:
    """Makes an op of a shape rule. Its first argument is a tensor; a weight comes second."""
    name = rule.__name__
    parameters = signature(rule)

    @wraps(rule)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if isinstance(args[0], Traced):
            arguments = parameters.bind(*args, **kwargs).arguments
            result = rule(*args, **kwargs)
            args[0].tape.record(name, arguments, cast("Traced | None", result))
            return result
        return cast("R", _kernel(name, args)(*args, **kwargs))

    OPS[name] = call
    return call


def _kernel(name: str, args: Sequence[object]) -> Kernel:
    first, second = args[:2] if len(args) > 1 else (args[0], None)
    if isinstance(second, Weight):
        return second.kernels[name]
    assert isinstance(first, Tensor)
    return registry.find(name, device=first.device.type)


def _like(x: Tensor, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
    return cast("Traced", x).like(*shape, dtype=dtype)


# --- matrices -----------------------------------------------------------------------------------


@op
def embedding(token_ids: Tensor, weight: Weight) -> Tensor:
    """Rows of `weight` (vocabulary, hidden) for token_ids (T,): (T, hidden) float32.

    Packed rows are unpacked one by one, never the whole matrix.
    """
    return _like(token_ids, *token_ids.shape, weight.shape[1], dtype=torch.float32)


@op
def linear(x: Tensor, weight: Weight, bias: Tensor | None = None) -> Tensor:
    """x (T, in) times the transpose of `weight` (out, in), plus bias (out,): (T, out).

    Computed and given in the weight's dtype, whatever x's.
    """
    return _like(x, *x.shape[:-1], weight.shape[0], dtype=weight.dtype)


@op
def logits(x: Tensor, weight: Weight, bias: Tensor | None = None) -> Tensor:
    """As `linear`, over a vocabulary and in float32: (R, vocabulary).

    In a coarser weight dtype, the best of each row are as exact as float32 makes them: two
    candidates that bfloat16 would round to one value keep their order.
    """
    return _like(x, *x.shape[:-1], weight.shape[0], dtype=torch.float32)


# --- norms, positions, heads --------------------------------------------------------------------


@op
def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x / sqrt(mean(x^2) + eps) * weight over the last axis, in float32; in x's dtype.

    x: (..., n), weight: (n,) float32. Root Mean Square Layer Normalization, arXiv:1910.07467.
    """
    return _like(x, *x.shape)


@op
def rope_table(positions: Tensor, inv_freq: Tensor, factor: float) -> Tensor:
    """Cosines and sines of every angle, times `factor`: (T, 2, n) float32.

    positions: (T,), inv_freq: (n,) float32. One table serves all layers of one rope.
    """
    return _like(positions, positions.shape[0], 2, inv_freq.shape[0], dtype=torch.float32)


@op
def rope(x: Tensor, table: Tensor) -> Tensor:
    """Rotates the pairs (i, i + n) of the first 2n of each head's d values; the rest stays.

    x: (T, H, d), table: (T, 2, n) from `rope_table`. In float32; in x's dtype. The half-split
    layout of arXiv:2104.09864, as Hugging Face stores q and k.
    """
    return _like(x, *x.shape)


@op
def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """(T, num_heads * d) as (T, num_heads, d)."""
    return _like(x, x.shape[0], num_heads, x.shape[1] // num_heads)


@op
def merge_heads(x: Tensor) -> Tensor:
    """(T, H, d) as (T, H * d)."""
    return _like(x, x.shape[0], x.shape[1] * x.shape[2])


# --- attention ----------------------------------------------------------------------------------


@op
def cache_write(k: Tensor, v: Tensor, keys: Tensor, values: Tensor, layout: BatchLayout) -> None:
    """Writes k, v (T, Hkv, d) to the layout's slots of keys, values (blocks, block_size, Hkv, d).

    The only op that changes an argument.
    """


@op
def paged_attention(
    q: Tensor,
    keys: Tensor,
    values: Tensor,
    layout: BatchLayout,
    *,
    scale: float,
    window: int | None = None,
    softcap: float | None = None,
) -> Tensor:
    """Causal attention of each sequence's rows to its own cached tokens: (T, H, d of values).

    q: (T, H, d); keys, values: (blocks, block_size, Hkv, d), the rows' own already written. Query
    head h reads cache head h // (H / Hkv). softcap c makes c * tanh(score / c) of scaled scores.
    window: a row sees the last `window` tokens, itself included. Softmax in float32.
    """
    return _like(q, q.shape[0], q.shape[1], values.shape[3])


# --- elementwise and rows -----------------------------------------------------------------------


@op
def silu_mul(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) * up, as in SwiGLU (arXiv:2002.05202)."""
    return _like(gate, *gate.shape)


@op
def gelu_tanh_mul(gate: Tensor, up: Tensor) -> Tensor:
    """gelu(gate) * up with gelu in its tanh form, as in GeGLU (arXiv:2002.05202)."""
    return _like(gate, *gate.shape)


@op
def add(x: Tensor, y: Tensor) -> Tensor:
    """x + y, of one shape, in the wider of their dtypes."""
    return _like(x if x.dtype.itemsize >= y.dtype.itemsize else y, *x.shape)


@op
def scale(x: Tensor, factor: float) -> Tensor:
    """x * factor, with the factor rounded to x's dtype first, as a stored constant would be."""
    return _like(x, *x.shape)


@op
def softcap(x: Tensor, cap: float) -> Tensor:
    """cap * tanh(x / cap)."""
    return _like(x, *x.shape)


@op
def select_rows(x: Tensor, rows: Tensor) -> Tensor:
    """The rows (R,) of x (T, n): (R, n)."""
    return _like(x, rows.shape[0], *x.shape[1:])
