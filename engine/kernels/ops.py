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
    reference_indexer,  # noqa: F401  # as reference
    reference_latent,  # noqa: F401  # as reference
    reference_moe,  # noqa: F401  # as reference
    reference_streams,  # noqa: F401  # as reference
    registry,
)
from engine.kernels.batch import BatchLayout
from engine.kernels.registry import Kernel
from engine.kernels.routing import Routing
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
def rms_norm(x: Tensor, weight: Tensor | None, eps: float) -> Tensor:
    """x / sqrt(mean(x^2) + eps) * weight over the last axis, in float32; in x's dtype.

    x: (..., n), weight: (n,) float32, or none for all ones. Root Mean Square Layer Normalization, arXiv:1910.07467.
    """
    return _like(x, *x.shape)


@op
def layer_norm(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """(x - mean) / sqrt(variance + eps) * weight + bias over the last axis, in float32; in x's dtype.

    x: (..., n); weight, bias: (n,) or, one for each head of x (T, H, n), (H, n), float32. Layer
    Normalization, arXiv:1607.06450.
    """
    return _like(x, *x.shape)


@op
def rope_table(positions: Tensor, inv_freq: Tensor, factor: float) -> Tensor:
    """Cosines and sines of every angle, times `factor`: (T, 2, n) float32.

    positions: (T,), inv_freq: (n,) float32. One table serves all layers of one rope.
    """
    return _like(positions, positions.shape[0], 2, inv_freq.shape[0], dtype=torch.float32)


@op
def longrope_table(
    positions: Tensor,
    lengths: Tensor,
    short: Tensor,
    long: Tensor,
    *,
    switch: int,
    factors: tuple[float, float],
) -> Tensor:
    """`rope_table` with the frequencies `long` for sequences longer than `switch`, else `short`.

    positions, lengths of the rows' sequences: (T,), short, long: (n,) float32. factors: for short
    and for long. LongRoPE, arXiv:2402.13753.
    """
    return _like(positions, positions.shape[0], 2, short.shape[0], dtype=torch.float32)


@op
def rope(x: Tensor, table: Tensor) -> Tensor:
    """Rotates the pairs (i, i + n) of the first 2n of each head's d values; the rest stays.

    x: (T, H, d), table: (T, 2, n) from `rope_table`. In float32; in x's dtype. The half-split
    layout of arXiv:2104.09864, as Hugging Face stores q and k.
    """
    return _like(x, *x.shape)


@op
def scale_by_position(x: Tensor, positions: Tensor, beta: float, period: int) -> Tensor:
    """x * (1 + beta * ln(1 + floor(position / period))), in x's dtype.

    x: (T, H, d), positions: (T,). Llama 4's way to keep attention sharp over long contexts.
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

    Only this op and `latent_write` change an argument.
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
    sinks: Tensor | None = None,
    alibi: Tensor | None = None,
) -> Tensor:
    """Causal attention of each sequence's rows to its own cached tokens: (T, H, d of values).

    q: (T, H, d); keys, values: (blocks, block_size, Hkv, d), the rows' own already written. Query
    head h reads cache head h // (H / Hkv). softcap c makes c * tanh(score / c) of scaled scores.
    window: a row sees the last `window` tokens, itself included. Softmax in float32, over one more
    score per head, sinks (H,) float32, where given: it takes its share and gives no value. alibi:
    (H,) float32, by which each score of a head grows per position of its key (arXiv:2108.12409).
    """
    return _like(q, q.shape[0], q.shape[1], values.shape[3])


# --- latent attention ---------------------------------------------------------------------------


@op
def head_linear(
    x: Tensor, weight: Weight, first: int, last: int, *, transposed: bool = False
) -> Tensor:
    """`linear` of each head's x by a matrix of its own: (T, H, last - first).

    x: (T, H, in). weight: (H * r, in), r rows for each head, of which first..last are its matrix.
    transposed: times the matrix itself, x (T, H, last - first) and the result (T, H, in): what
    absorbs a key's up-projection into the query. Computed and given in the weight's dtype.
    """
    size = weight.shape[1] if transposed else last - first
    return _like(x, x.shape[0], x.shape[1], size, dtype=weight.dtype)


@op
def latent_write(latent: Tensor, latents: Tensor, layout: BatchLayout) -> None:
    """Writes latent (T, n) to the layout's slots of latents (blocks, block_size, n)."""


@op
def latent_attention(
    q: Tensor,
    latents: Tensor,
    layout: BatchLayout,
    *,
    scale: float,
    value_dim: int,
    chosen: Tensor | None = None,
) -> Tensor:
    """`paged_attention` of all heads to one cached latent per token: (T, H, value_dim).

    q: (T, H, n); latents: (blocks, block_size, n), each a key and, its first value_dim values, the
    key's value. The absorbed form of multi-head latent attention, arXiv:2405.04434. chosen:
    (T, k) from `choose_tokens`, the only positions of its sequence that a row then sees.
    """
    return _like(q, q.shape[0], q.shape[1], value_dim)


@op
def choose_tokens(
    q: Tensor, weights: Tensor, index_keys: Tensor, layout: BatchLayout, top_k: int
) -> Tensor:
    """The positions of its sequence that are worth most to each row: (T, top_k) int64, or -1.

    q: (T, H, d), weights: (T, H), index_keys: (blocks, block_size, d), the rows' own written. A
    token up to the row itself is worth sum over h of weights[h] * relu(q[h] . key), in float32.
    Where there are fewer than top_k, the rest is -1. The indexer of DeepSeek-V3.2-Exp's report.
    """
    return _like(q, q.shape[0], top_k, dtype=torch.int64)


# --- mixtures of experts ------------------------------------------------------------------------


@op
def choose_experts(logits: Tensor, routing: Routing, bias: Tensor | None = None) -> Tensor:
    """The experts that each token goes to, best first: (T, top_k) int64.

    logits: (T, E) of a router. bias: (E,) float32, added to the scores for this choice alone.
    """
    return _like(logits, logits.shape[0], routing.top_k, dtype=torch.int64)


@op
def weigh_experts(logits: Tensor, chosen: Tensor, routing: Routing) -> Tensor:
    """What each chosen expert counts for: (T, top_k) float32. chosen: from `choose_experts`."""
    return _like(logits, *chosen.shape, dtype=torch.float32)


@op
def expert_linear(
    x: Tensor, weight: Weight, chosen: Tensor, num_experts: int, bias: Tensor | None = None
) -> Tensor:
    """`linear` of each row by the matrix of each of its chosen experts: (T, top_k, out).

    x: (T, in), the same for all its experts, or (T, top_k, in), one for each. weight: (E * out, in),
    the experts' matrices one under the other, packed or dense. chosen: (T, top_k) int64. bias:
    (E, out). Computed and given in the weight's dtype.
    """
    return _like(x, *chosen.shape, weight.shape[0] // num_experts, dtype=weight.dtype)


@op
def combine_experts(outputs: Tensor, weights: Tensor) -> Tensor:
    """The weighted sum over each row's experts: (T, n) float32.

    outputs: (T, top_k, n), weights: (T, top_k) float32.
    """
    return _like(outputs, outputs.shape[0], outputs.shape[2], dtype=torch.float32)


# --- elementwise and rows -----------------------------------------------------------------------


@op
def silu_mul(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) * up, as in SwiGLU (arXiv:2002.05202)."""
    return _like(gate, *gate.shape)


@op
def gelu_tanh_mul(gate: Tensor, up: Tensor) -> Tensor:
    """gelu(gate) * up with gelu in its tanh form, as in GeGLU (arXiv:2002.05202).

    In the wider of their dtypes.
    """
    return _like(gate if gate.dtype.itemsize >= up.dtype.itemsize else up, *gate.shape)


@op
def clamped_swiglu(gate: Tensor, up: Tensor, alpha: float, limit: float) -> Tensor:
    """(u + 1) * g * sigmoid(alpha * g), g = min(gate, limit), u = up within +-limit: GPT-OSS's."""
    return _like(gate, *gate.shape)


@op
def sigmoid_mul(gate: Tensor, x: Tensor) -> Tensor:
    """sigmoid(gate) * x. gate: of x's shape, or (T, 1) beside x (T, n)."""
    return _like(x, *x.shape)


@op
def gelu(x: Tensor) -> Tensor:
    """x * Phi(x), Phi the normal distribution's, as in arXiv:1606.08415."""
    return _like(x, *x.shape)


@op
def gelu_tanh(x: Tensor) -> Tensor:
    """`gelu` in its tanh form."""
    return _like(x, *x.shape)


@op
def clamp(x: Tensor, limit: float) -> Tensor:
    """x, kept within -limit..limit."""
    return _like(x, *x.shape)


@op
def add(x: Tensor, y: Tensor) -> Tensor:
    """x + y, of one shape, in the wider of their dtypes."""
    return _like(x if x.dtype.itemsize >= y.dtype.itemsize else y, *x.shape)


@op
def scale(x: Tensor, factor: float) -> Tensor:
    """x * factor, with the factor rounded to x's dtype first, as a stored constant would be."""
    return _like(x, *x.shape)


@op
def mul(x: Tensor, factors: Tensor) -> Tensor:
    """x (T, n) times factors (n,) or (1,) float32, computed in float32; in x's dtype."""
    return _like(x, *x.shape)


@op
def scale_by(x: Tensor, factors: Tensor, index: Tensor) -> Tensor:
    """x * factors[index]: (T, k) all float32. index: (T, k) int64 into factors (n,)."""
    return _like(x, *x.shape)


@op
def sparsify(x: Tensor, deviations: float) -> Tensor:
    """relu(x - m - deviations * s), m and s the mean and deviation of each row's n values.

    Gemma 3n's "activation sparsity": of a normal row, only the largest remain.
    """
    return _like(x, *x.shape)


@op
def softcap(x: Tensor, cap: float) -> Tensor:
    """cap * tanh(x / cap)."""
    return _like(x, *x.shape)


@op
def select_columns(x: Tensor, first: int, last: int) -> Tensor:
    """The values first..last of the last axis of x (..., n): (..., last - first)."""
    return _like(x, *x.shape[:-1], last - first)


@op
def concat(x: Tensor, y: Tensor) -> Tensor:
    """x (..., n) and y (..., m), of one dtype, end to end: (..., n + m)."""
    return _like(x, *x.shape[:-1], x.shape[-1] + y.shape[-1])


@op
def select_rows(x: Tensor, rows: Tensor) -> Tensor:
    """The rows (R,) of x (T, n): (R, n)."""
    return _like(x, rows.shape[0], *x.shape[1:])


@op
def ids_below(token_ids: Tensor, limit: int) -> Tensor:
    """token_ids (T,), with 0 for those that are not below `limit`."""
    return _like(token_ids, *token_ids.shape)


# --- parallel streams ---------------------------------------------------------------------------


@op
def match_rms(x: Tensor, like: Tensor) -> Tensor:
    """x (T, k, n) with each of its vectors scaled to the root mean square of like (T, n).

    In like's dtype. One whose mean square is below 1e-5 is scaled as if it were that.
    """
    return _like(like, *x.shape)


@op
def mix_streams(streams: Tensor, coefficients: Tensor) -> Tensor:
    """Each stream plus a mix of all: s_j + sum_i c_ji s_i, (T, k, n).

    streams: (T, k, n), coefficients: (T, k * k), those of each j together. AltUp's prediction,
    arXiv:2301.13310.
    """
    return _like(streams, *streams.shape)


@op
def correct_streams(streams: Tensor, x: Tensor, coefficients: Tensor) -> Tensor:
    """s_j + (1 + c_j) (x - s_0), (T, k, n): AltUp's correction.

    streams: (T, k, n), x: (T, n), what the first should have been, coefficients: (T, k).
    """
    return _like(streams, *streams.shape)


@op
def add_to_later(streams: Tensor, x: Tensor) -> Tensor:
    """Streams (T, k, n) with x (T, n) added to all but the first."""
    return _like(streams, *streams.shape)


@op
def select_stream(streams: Tensor, index: int) -> Tensor:
    """The one of that index of streams (T, k, n): (T, n)."""
    return _like(streams, streams.shape[0], streams.shape[2])
