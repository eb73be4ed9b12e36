"""The convolution and shift of recurrent layers in plain torch."""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # torch's own name for it

from engine.kernels.batch import BatchLayout
from engine.kernels.recurrence import over_sequences
from engine.kernels.registry import register


@register("causal_conv")
def causal_conv(
    x: Tensor, weight: Tensor, bias: Tensor | None, state: Tensor, layout: BatchLayout
) -> Tensor:
    taps = weight.float()

    def step(before: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        inputs = torch.cat([before, rows.float()[..., None]], dim=-1)  # (B, C, K)
        return (inputs * taps).sum(-1), inputs[..., 1:]

    def scan(before: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        inputs = torch.cat([before, rows.float().T], dim=-1)  # (C, K - 1 + rows)
        summed = F.conv1d(inputs, taps[:, None], groups=len(taps))
        return summed.T, inputs[:, -before.shape[1] :]

    result = over_sequences(state, layout, (x,), step=step, scan=scan)
    return (result if bias is None else result + bias).to(x.dtype)


@register("token_shift")
def token_shift(x: Tensor, state: Tensor, layout: BatchLayout) -> Tensor:
    def step(before: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        return before, rows.float()

    def scan(before: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        return torch.cat([before[None], rows.float()[:-1]]), rows[-1].float()

    return over_sequences(state, layout, (x,), step=step, scan=scan).to(x.dtype)
