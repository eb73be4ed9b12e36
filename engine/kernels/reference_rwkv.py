"""The recurrences of RWKV in plain torch: of one row each, and of a sequence in chunks.

Both scans run through states (dk, dv): the transpose of what the paper of RWKV-7 writes.
"""

from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # torch's own name for it

from engine.kernels.batch import BatchLayout
from engine.kernels.recurrence import over_sequences
from engine.kernels.registry import register

RWKV6_CHUNK = 16
"""Rows whose decays to each other are made at once, (rows, rows, H, dk) of them."""

RWKV7_CHUNK = 32
"""Rows solved at once. A decay over all of them is no less than exp(-20), so it can be divided by.

float32 bears 64 rows and more; but the triangular systems grow with them.
"""


@register("rwkv6_scan")
def rwkv6_scan(
    r: Tensor,
    k: Tensor,
    v: Tensor,
    log_decay: Tensor,
    bonus: Tensor,
    state: Tensor,
    layout: BatchLayout,
) -> Tensor:
    step, scan = partial(rwkv6_step, bonus=bonus), partial(rwkv6_chunked, bonus=bonus)
    rows = r.float(), k.float(), v.float(), log_decay.float()
    return over_sequences(state, layout, rows, step=step, scan=scan).to(v.dtype)


def rwkv6_step(
    state: Tensor, r: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, bonus: Tensor
) -> tuple[Tensor, Tensor]:
    """One row of each of B sequences, (B, H, d); their states (B, H, dk, dv)."""
    written = k[..., None] * v[..., None, :]
    seen = state + bonus[..., None] * written
    return (r[..., None, :] @ seen)[..., 0, :], log_decay.exp()[..., None] * state + written


def rwkv6_chunked(
    state: Tensor,
    r: Tensor,
    k: Tensor,
    v: Tensor,
    log_decay: Tensor,
    bonus: Tensor,
    size: int = RWKV6_CHUNK,
) -> tuple[Tensor, Tensor]:
    """The rows of one sequence, (T, H, d); its state (H, dk, dv)."""
    chunks = zip(*(torch.split(each, size) for each in (r, k, v, log_decay)), strict=True)
    outputs = []
    for rows in chunks:
        output, state = _rwkv6_chunk(state, bonus, *rows)
        outputs.append(output)
    return torch.cat(outputs), state


def _rwkv6_chunk(
    state: Tensor, bonus: Tensor, r: Tensor, k: Tensor, v: Tensor, log_decay: Tensor
) -> tuple[Tensor, Tensor]:
    decays = _decays(log_decay)
    scores = torch.einsum("thi,tshi->hts", r, decays[:-1, 1:] * k).tril(-1)
    scores += torch.diag_embed((r * bonus * k).sum(-1).T)
    from_state = torch.einsum("thi,hij->thj", r * decays[:-1, 0], state)
    output = from_state + torch.einsum("hts,shj->thj", scores, v)
    written = torch.einsum("shi,shj->hij", k * decays[-1, 1:], v)
    return output, decays[-1, 0][..., None] * state + written


def _decays(log_decay: Tensor) -> Tensor:
    """Of the state before row a until before row b, at [b, a]: (rows + 1, rows + 1, H, dk).

    Summed anew from every a, not as differences of one sum: RWKV-6 bounds no decay, and where one
    is large, what follows it would drown in its rounding.
    """
    marks = torch.arange(len(log_decay) + 1, device=log_decay.device)
    passed = F.pad(log_decay, (0, 0, 0, 0, 1, 0))[:, None].expand(-1, len(marks), -1, -1)
    is_later = (marks[:, None] > marks)[..., None, None]
    return passed.masked_fill(~is_later, 0).cumsum(0).exp()


@register("rwkv7_scan")
def rwkv7_scan(
    r: Tensor,
    k: Tensor,
    v: Tensor,
    log_decay: Tensor,
    removal: Tensor,
    rate: Tensor,
    state: Tensor,
    layout: BatchLayout,
) -> Tensor:
    wide = r.float(), k.float(), v.float(), log_decay.float()
    rows = *wide, removal.float(), removal.float() * rate
    result = over_sequences(state, layout, rows, step=rwkv7_step, scan=rwkv7_chunked)
    return result.to(v.dtype)


def rwkv7_step(
    state: Tensor, r: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, old: Tensor, new: Tensor
) -> tuple[Tensor, Tensor]:
    """One row of each of B sequences, (B, H, d); their states (B, H, dk, dv).

    old S is what is found in a state, and taken from it along new.
    """
    found = old[..., None, :] @ state  # (B, H, 1, dv)
    state = log_decay.exp()[..., None] * state - new[..., None] * found
    state = state + k[..., None] * v[..., None, :]
    return (r[..., None, :] @ state)[..., 0, :], state


def rwkv7_chunked(
    state: Tensor,
    r: Tensor,
    k: Tensor,
    v: Tensor,
    log_decay: Tensor,
    old: Tensor,
    new: Tensor,
    size: int = RWKV7_CHUNK,
) -> tuple[Tensor, Tensor]:
    """The rows of one sequence, (T, H, d); its state (H, dk, dv)."""
    by_head = (each.transpose(0, 1) for each in (r, k, v, log_decay, old, new))
    chunks = zip(*(torch.split(each, size, dim=1) for each in by_head), strict=True)
    outputs = []
    for rows in chunks:
        output, state = _rwkv7_chunk(state, *rows)
        outputs.append(output)
    return torch.cat(outputs, dim=1).transpose(0, 1), state


def _rwkv7_chunk(
    state: Tensor, r: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, old: Tensor, new: Tensor
) -> tuple[Tensor, Tensor]:
    """Of one chunk, (H, rows, d): what its rows find depends on what those before it found."""
    after = log_decay.cumsum(1)  # from the chunk's start
    old, r = old * (after - log_decay).exp(), r * after.exp()
    k, new = k * (-after).exp(), new * (-after).exp()
    # found = old (state - new^T found + k^T v), each row with the rows before it alone
    known = old @ state + (old @ k.mT).tril(-1) @ v
    system = (old @ new.mT).tril(-1)
    found = torch.linalg.solve_triangular(system, known, upper=False, unitriangular=True)
    output = r @ state + (r @ k.mT).tril() @ v - (r @ new.mT).tril() @ found
    grown = state + k.mT @ v - new.mT @ found
    return output, after[:, -1].exp()[..., None] * grown


@register("rwkv7_bonus")
def rwkv7_bonus(r: Tensor, k: Tensor, v: Tensor, factors: Tensor) -> Tensor:
    said = (r.float() * k.float() * factors).sum(-1, keepdim=True)
    return (said * v).to(v.dtype)
