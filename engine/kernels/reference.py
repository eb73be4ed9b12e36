"""Every op of the vocabulary in plain torch, for any device and weight format."""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # torch's own name for it

from engine.kernels.registry import register
from engine.kernels.weight import DENSE, Weight

UNPACK_ELEMENTS = 4 * 2**20
"""At most so many values of a packed weight (or one row) are unpacked at a time."""

EXACT_LOGITS = 64
"""So many logits of each row are computed in float32 where the rest are bfloat16."""


@register("embedding")
def embedding(token_ids: Tensor, weight: Weight) -> Tensor:
    return weight.rows(token_ids).unpack(torch.float32)


@register("linear", weight_format=DENSE)
def linear_dense(x: Tensor, weight: Weight, bias: Tensor | None = None) -> Tensor:
    return F.linear(x.to(weight.dtype), weight.data, bias)


@register("linear")
def linear_packed(x: Tensor, weight: Weight, bias: Tensor | None = None) -> Tensor:
    return _linear_in_slices(x.to(weight.dtype), weight, bias)


@register("logits", weight_format=DENSE)
def logits_dense(x: Tensor, weight: Weight, bias: Tensor | None = None) -> Tensor:
    rough = linear_dense(x, weight, bias).float()
    if weight.dtype == torch.float32:
        return rough
    # bfloat16 rounds a logit of 16 to a multiple of 1/8: what decides is computed again.
    best = rough.topk(min(EXACT_LOGITS, rough.shape[-1])).indices
    exact = torch.einsum("rbh,rh->rb", weight.data[best].float(), x.float())
    return rough.scatter_(-1, best, exact if bias is None else exact + bias.float()[best])


@register("logits")
def logits_packed(x: Tensor, weight: Weight, bias: Tensor | None = None) -> Tensor:
    return _linear_in_slices(x.float(), weight, bias)


def _linear_in_slices(x: Tensor, weight: Weight, bias: Tensor | None) -> Tensor:
    """In x's dtype, the weight unpacked a slice at a time."""
    out_features, in_features = weight.shape
    step = max(1, UNPACK_ELEMENTS // in_features)
    slices = [weight.rows(slice(start, start + step)) for start in range(0, out_features, step)]
    result = torch.cat([F.linear(x, rows.unpack(x.dtype)) for rows in slices], dim=-1)
    return result if bias is None else result + bias


@register("rms_norm")
def rms_norm(x: Tensor, weight: Tensor | None, eps: float) -> Tensor:
    wide = x.float()
    normed = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)
    return (normed if weight is None else normed * weight).to(x.dtype)


@register("layer_norm")
def layer_norm(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    wide = F.layer_norm(x.float(), x.shape[-1:], eps=eps)
    wide = wide if weight is None else wide * weight
    return (wide if bias is None else wide + bias).to(x.dtype)


@register("rope_table")
def rope_table(positions: Tensor, inv_freq: Tensor, factor: float) -> Tensor:
    angles = positions.float()[:, None] * inv_freq
    return torch.stack([angles.cos(), angles.sin()], dim=1) * factor


@register("longrope_table")
def longrope_table(
    positions: Tensor,
    lengths: Tensor,
    short: Tensor,
    long: Tensor,
    *,
    switch: int,
    factors: tuple[float, float],
) -> Tensor:
    tables = (rope_table(positions, *each) for each in zip((short, long), factors, strict=True))
    in_short, in_long = tables
    return torch.where((lengths > switch)[:, None, None], in_long, in_short)


@register("rope")
def rope(x: Tensor, table: Tensor) -> Tensor:
    half = table.shape[2]
    cos, sin = table[:, None, 0], table[:, None, 1]
    first, second = x[..., :half].float(), x[..., half : 2 * half].float()
    rotated = torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
    return torch.cat([rotated.to(x.dtype), x[..., 2 * half :]], dim=-1)


@register("scale_by_position")
def scale_by_position(x: Tensor, positions: Tensor, beta: float, period: int) -> Tensor:
    factors = 1 + beta * torch.log1p((positions // period).float())
    return x * factors.to(x.dtype)[:, None, None]


@register("split_heads")
def split_heads(x: Tensor, num_heads: int) -> Tensor:
    return x.view(x.shape[0], num_heads, -1)


@register("merge_heads")
def merge_heads(x: Tensor) -> Tensor:
    return x.flatten(1)


@register("silu_mul")
def silu_mul(gate: Tensor, up: Tensor) -> Tensor:
    return F.silu(gate) * up


@register("widen")
def widen(x: Tensor) -> Tensor:
    return x.float()


@register("silu")
def silu(x: Tensor) -> Tensor:
    return F.silu(x)


@register("gelu_tanh_mul")
def gelu_tanh_mul(gate: Tensor, up: Tensor) -> Tensor:
    return F.gelu(gate, approximate="tanh") * up


@register("gelu")
def gelu(x: Tensor) -> Tensor:
    return F.gelu(x)


@register("gelu_tanh")
def gelu_tanh(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


@register("relu_squared")
def relu_squared(x: Tensor) -> Tensor:
    return F.relu(x).square()


@register("sigmoid")
def sigmoid(x: Tensor) -> Tensor:
    return torch.sigmoid(x)


@register("tanh")
def tanh(x: Tensor) -> Tensor:
    return torch.tanh(x)


@register("exp")
def exp(x: Tensor) -> Tensor:
    return torch.exp(x)


@register("lerp")
def lerp(x: Tensor, y: Tensor, factors: Tensor) -> Tensor:
    wide = x.float()
    return (wide + (y.float() - wide) * factors).to(x.dtype)


@register("clamp")
def clamp(x: Tensor, limit: float) -> Tensor:
    return x.clamp(-limit, limit)


@register("add")
def add(x: Tensor, y: Tensor) -> Tensor:
    return x + y


@register("scale")
def scale(x: Tensor, factor: float) -> Tensor:
    return x * torch.tensor(factor, dtype=x.dtype, device=x.device)


@register("softcap")
def softcap(x: Tensor, cap: float) -> Tensor:
    return cap * torch.tanh(x / cap)


@register("select_rows")
def select_rows(x: Tensor, rows: Tensor) -> Tensor:
    return x.index_select(0, rows)
