"""Mamba's scans in plain torch: each one as a step of many sequences, and over chunks of one.

Decays are only ever multiplied, or exponentiated from a sum that is at most 0: nothing overflows
however long a sequence is or however fast it forgets.
"""

from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # torch's own name for it

from engine.kernels.batch import BatchLayout
from engine.kernels.recurrence import over_sequences
from engine.kernels.registry import register

SELECTIVE_CHUNK = 16
SSD_CHUNK = 64

MIN_LOG_DECAY = -88.0
"""What decays by more in one step is gone in float32. Sums of such steps stay small and exact."""


@register("selective_scan")
def selective_scan(
    x: Tensor,
    dt: Tensor,
    a: Tensor,
    b: Tensor,
    c: Tensor,
    d: Tensor,
    dt_bias: Tensor,
    state: Tensor,
    layout: BatchLayout,
) -> Tensor:
    wide = x.float()
    rows = wide, F.softplus(dt.float() + dt_bias), b.float(), c.float()
    step, scan = partial(selective_step, a=a), partial(selective_chunks, a=a)
    return (over_sequences(state, layout, rows, step=step, scan=scan) + wide * d).to(x.dtype)


def selective_step(
    state: Tensor, x: Tensor, dt: Tensor, b: Tensor, c: Tensor, *, a: Tensor
) -> tuple[Tensor, Tensor]:
    """One row of each of B sequences: (B, n) of x, dt after softplus; states (B, n, N)."""
    decay = torch.exp(dt[..., None] * a)
    after = torch.addcmul(decay * state, (dt * x)[..., None], b[:, None])
    return (after @ c[..., None])[..., 0], after


def selective_chunks(
    state: Tensor,
    x: Tensor,
    dt: Tensor,
    b: Tensor,
    c: Tensor,
    *,
    a: Tensor,
    chunk: int = SELECTIVE_CHUNK,
) -> tuple[Tensor, Tensor]:
    """All rows (T, n) of one sequence, state (n, N), a chunk at a time."""
    outputs = []
    for rows in zip(*(torch.split(each, chunk) for each in (x, dt, b, c)), strict=True):
        output, state = _selective_chunk(state, *rows, a=a)
        outputs.append(output)
    return torch.cat(outputs), state


def _selective_chunk(
    state: Tensor, x: Tensor, dt: Tensor, b: Tensor, c: Tensor, *, a: Tensor
) -> tuple[Tensor, Tensor]:
    """What decays and what is added for all rows at once, then one multiplication a row.

    Each of a channel's numbers has decays of its own, so that no matrix products would do it.
    """
    decays = torch.exp(dt[..., None] * a)
    states = (dt * x)[..., None] * b[:, None]  # what is added, and then all that is there
    for row in range(len(x)):
        state = states[row].addcmul_(decays[row], state)
    return (states @ c[..., None])[..., 0], state


@register("ssd_scan")
def ssd_scan(
    x: Tensor,
    dt: Tensor,
    a: Tensor,
    b: Tensor,
    c: Tensor,
    d: Tensor,
    dt_bias: Tensor,
    state: Tensor,
    layout: BatchLayout,
    *,
    dt_limits: tuple[float, float],
) -> Tensor:
    wide = x.float()
    steps = F.softplus(dt.float() + dt_bias).clamp(*dt_limits)
    decays = (steps * a).clamp(min=MIN_LOG_DECAY)
    rows = wide * steps[..., None], decays, b.float(), c.float()
    outputs = over_sequences(state, layout, rows, step=ssd_step, scan=ssd_chunks)
    return (outputs + wide * d[:, None]).to(x.dtype)


def ssd_step(
    state: Tensor, x: Tensor, log_decay: Tensor, b: Tensor, c: Tensor
) -> tuple[Tensor, Tensor]:
    """One row of each of B sequences: (B, H, p) of x times its dt; states (B, H, p, N)."""
    per_group = x.shape[1] // b.shape[1]
    b, c = (each.repeat_interleave(per_group, dim=1) for each in (b, c))
    decayed = torch.exp(log_decay)[..., None, None] * state
    after = torch.addcmul(decayed, x[..., None], b[:, :, None])
    return (after @ c[..., None])[..., 0], after


def ssd_chunks(
    state: Tensor, x: Tensor, log_decay: Tensor, b: Tensor, c: Tensor, *, chunk: int = SSD_CHUNK
) -> tuple[Tensor, Tensor]:
    """All rows (T, H, p) of one sequence, state (H, p, N), a chunk at a time."""
    outputs = []
    for rows in zip(*(torch.split(each, chunk) for each in (x, log_decay, b, c)), strict=True):
        output, state = _ssd_chunk(state, *rows)
        outputs.append(output)
    return torch.cat(outputs), state


def _ssd_chunk(
    state: Tensor, x: Tensor, log_decay: Tensor, b: Tensor, c: Tensor
) -> tuple[Tensor, Tensor]:
    """What a chunk's rows say to each other, as attention would, and what the state says to them.

    Of groups g with heads h: x is (g, h, rows, p) then, the state (g, h, p, N).
    """
    num_rows, num_groups, _ = b.shape
    x = x.transpose(0, 1).reshape(num_groups, -1, num_rows, x.shape[-1])
    before = state.view(num_groups, -1, *state.shape[1:])
    b, c = b.transpose(0, 1)[:, None], c.transpose(0, 1)[:, None]
    since_start = log_decay.cumsum(0).T.reshape(num_groups, -1, num_rows)
    between = since_start[..., :, None] - since_start[..., None, :]
    is_later = torch.ones(num_rows, num_rows, dtype=torch.bool, device=x.device).triu(1)
    scores = (c @ b.mT) * torch.exp(between.masked_fill(is_later, -torch.inf))
    output = scores @ x + torch.exp(since_start)[..., None] * (c @ before.mT)
    until_end = torch.exp(since_start[..., -1:] - since_start)[..., None]
    total = torch.exp(since_start[..., -1])[..., None, None]
    after = total * before + (x * until_end).mT @ b
    return output.flatten(0, 1).transpose(0, 1), after.flatten(0, 1)
