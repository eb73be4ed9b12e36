"""What Gemma 3n and 4 add to a decoder, in plain torch: parallel streams, gains, sparse gates."""

import torch
from torch import Tensor

from engine.kernels.registry import register

MIN_MEAN_SQUARE = 1e-5
"""Below it, `match_rms` takes what it rescales to be that large."""


@register("mul")
def mul(x: Tensor, factors: Tensor) -> Tensor:
    return (x.float() * factors).to(x.dtype)


@register("scale_by")
def scale_by(x: Tensor, factors: Tensor, index: Tensor) -> Tensor:
    return x * factors[index]


@register("ids_below")
def ids_below(token_ids: Tensor, limit: int) -> Tensor:
    return token_ids.where(token_ids < limit, 0)


@register("sparsify")
def sparsify(x: Tensor, deviations: float) -> Tensor:
    wide = x.float()
    deviation, mean = torch.std_mean(wide, dim=-1, correction=0, keepdim=True)
    return (wide - mean - deviations * deviation).relu().to(x.dtype)


@register("match_rms")
def match_rms(x: Tensor, like: Tensor) -> Tensor:
    wide = x.float()
    mean_square = wide.square().mean(-1, keepdim=True).clamp(min=MIN_MEAN_SQUARE)
    wanted = like.float().square().mean(-1)[:, None, None]
    return (wide * (wanted / mean_square).sqrt()).to(like.dtype)


@register("mix_streams")
def mix_streams(streams: Tensor, coefficients: Tensor) -> Tensor:
    num_rows, num_streams = streams.shape[:2]
    matrices = coefficients.to(streams.dtype).view(num_rows, num_streams, num_streams)
    return streams + matrices @ streams


@register("correct_streams")
def correct_streams(streams: Tensor, x: Tensor, coefficients: Tensor) -> Tensor:
    factors = 1 + coefficients.to(streams.dtype)
    return streams + factors[..., None] * (x - streams[:, 0])[:, None]


@register("add_to_later")
def add_to_later(streams: Tensor, x: Tensor) -> Tensor:
    return torch.cat([streams[:, :1], streams[:, 1:] + x[:, None]], dim=1).to(streams.dtype)


@register("select_stream")
def select_stream(streams: Tensor, index: int) -> Tensor:
    return streams[:, index]
