"""The gated delta rule in plain torch: a step of many sequences, and chunks of one.

A chunk's rows are taken in at once by the WY form of arXiv:2406.06484: what each of them corrects
depends on what those before it did, which makes a triangular system. Decays only ever appear as
exponentials of sums that are at most 0, so that none overflows.
"""

from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # torch's own name for it

from engine.kernels.batch import BatchLayout
from engine.kernels.recurrence import over_sequences
from engine.kernels.registry import register

CHUNK = 64
"""Rows solved at once."""

BLOCK = 8
"""Rows whose decays to each other are formed one by one where each channel has its own."""

MIN_LOG_DECAY = -110.0
"""What decays by more in one row is nothing in float32; -inf would make a difference of two NaN."""


@register("l2_norm")
def l2_norm(x: Tensor, eps: float) -> Tensor:
    wide = x.float()
    return (wide * torch.rsqrt(wide.square().sum(-1, keepdim=True) + eps)).to(x.dtype)


@register("log_decay")
def log_decay(x: Tensor, factor: Tensor, bias: Tensor) -> Tensor:
    soft = F.softplus(x.float() + bias)
    return (soft.view(len(x), len(factor), -1) * factor[:, None]).flatten(1)


@register("gated_delta_rule")
def gated_delta_rule(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    decay: Tensor,
    beta: Tensor,
    state: Tensor,
    layout: BatchLayout,
    *,
    tiled: bool = False,
    max_beta: float = 1.0,
) -> Tensor:
    num_heads, scale = v.shape[1], q.shape[-1] ** -0.5
    share = partial(_to_value_heads, num_heads=num_heads, tiled=tiled)
    by_head = decay.view(len(v), num_heads, -1).clamp(min=MIN_LOG_DECAY)
    learned = max_beta * beta.float().sigmoid()
    rows = share(q.float() * scale), share(k.float()), v.float(), by_head, learned
    result = over_sequences(state, layout, rows, step=delta_step, scan=delta_chunks)
    return result.to(v.dtype)


def _to_value_heads(x: Tensor, *, num_heads: int, tiled: bool) -> Tensor:
    """(T, Hk, d) as (T, num_heads, d)."""
    times = num_heads // x.shape[1]
    return x.repeat(1, times, 1) if tiled else x.repeat_interleave(times, dim=1)


def delta_step(
    state: Tensor, q: Tensor, k: Tensor, v: Tensor, decay: Tensor, beta: Tensor
) -> tuple[Tensor, Tensor]:
    """One row of each of B sequences: q, k (B, H, dk), v (B, H, dv); their states (B, H, dk, dv).

    decay: (B, H, dk), or (B, H, 1) for all of a head. beta: (B, H).
    """
    state = decay.exp()[..., None] * state
    known = (k[..., None, :] @ state)[..., 0, :]
    correction = beta[..., None] * (v - known)
    state = torch.addcmul(state, k[..., None], correction[..., None, :])
    return (q[..., None, :] @ state)[..., 0, :], state


def delta_chunks(
    state: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    decay: Tensor,
    beta: Tensor,
    chunk: int = CHUNK,
) -> tuple[Tensor, Tensor]:
    """All rows of one sequence: as in `delta_step` with T for B; its state (H, dk, dv)."""
    by_head = [each.transpose(0, 1) for each in (q, k, v, decay, beta[..., None])]
    outputs = []
    for first in range(0, len(v), chunk):
        output, state = _chunk(state, *(each[:, first : first + chunk] for each in by_head))
        outputs.append(output)
    return torch.cat(outputs, dim=1).transpose(0, 1), state


def _chunk(
    state: Tensor, q: Tensor, k: Tensor, v: Tensor, decay: Tensor, beta: Tensor
) -> tuple[Tensor, Tensor]:
    """Of one chunk's rows, (H, rows, d)."""
    # In float64: differences of large sums are what counts, and a small one must be exact.
    since = decay.double().cumsum(1)
    kept = since.float().exp()
    key_scores, scores = _scores(torch.stack([beta * k, q]), k, since)
    wrong = beta * (v - (k * kept) @ state)
    # (I + what is below its diagonal) correction = wrong
    correction = torch.linalg.solve_triangular(key_scores, wrong, upper=False, unitriangular=True)
    output = (q * kept) @ state + scores @ correction
    last = since[:, -1:]
    written = (k * (last - since).float().exp()).mT @ correction
    return output, last.float().exp().mT * state + written


def _scores(x: Tensor, k: Tensor, since: Tensor) -> Tensor:
    """Of x (n, H, rows, dk), the product of each row with k (H, rows, dk) at and before it.

    since: (H, rows, dk or 1), the chunk's decay up to each row; a key's values have decayed from
    its row to x's. The result, (n, H, rows, rows), is 0 above the diagonal.
    """
    if since.shape[-1] == 1:
        return (x @ k.mT) * _between(since)[..., 0]
    scores = x.new_zeros(*x.shape[:-1], k.shape[1])
    for first in range(0, k.shape[1], BLOCK):
        own = slice(first, first + BLOCK)
        start = since[:, first : first + 1]
        # Through the block's first row, neither factor can grow on either side of it.
        rows = x[..., own, :] * (since[:, own] - start).float().exp()
        before = k[:, :first] * (start - since[:, :first]).float().exp()
        scores[..., own, :first] = rows @ before.mT
        near = k[:, None, own] * _between(since[:, own])
        scores[..., own, own] = (x[..., own, None, :] * near).sum(-1)
    return scores


def _between(since: Tensor) -> Tensor:
    """What is kept from each row, the third axis, to each later one: (H, rows, rows, n)."""
    size = since.shape[1]
    is_later = torch.ones(size, size, dtype=torch.bool, device=since.device).tril()[..., None]
    difference = since[:, :, None] - since[:, None]
    return difference.masked_fill(~is_later, -torch.inf).float().exp()
