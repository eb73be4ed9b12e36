"""Lightning attention in plain torch: row by row, and in chunks.

A chunk's rows see each other through scores with a decay, and all before them through the state.
"""

import torch
from torch import Tensor

from engine.kernels.batch import BatchLayout
from engine.kernels.recurrence import over_sequences
from engine.kernels.registry import register

CHUNK_ROWS = 256


@register("linear_attention")
def linear_attention(qkv: Tensor, slopes: Tensor, state: Tensor, layout: BatchLayout) -> Tensor:
    def step_rows(before: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        return step(before, *_parts(rows), slopes)

    def scan_rows(before: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        return chunked(before, *_parts(rows), slopes)

    return over_sequences(state, layout, (qkv,), step=step_rows, scan=scan_rows).to(qkv.dtype)


def _parts(qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    q, k, v = qkv.float().chunk(3, dim=-1)
    return q, k, v


def step(state: Tensor, q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> tuple[Tensor, Tensor]:
    """One row of each of B sequences. state: (B, H, d, d); q, k, v: (B, H, d)."""
    state = (-slopes).exp()[:, None, None] * state + k[..., :, None] * v[..., None, :]
    return (q[..., None, :] @ state).squeeze(-2), state


def chunked(
    state: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    slopes: Tensor,
    *,
    chunk_rows: int = CHUNK_ROWS,
) -> tuple[Tensor, Tensor]:
    """All rows of one sequence. state: (H, d, d); q, k, v: (rows, H, d)."""
    outputs = []
    for start in range(0, len(q), chunk_rows):
        chunk = [each[start : start + chunk_rows].transpose(0, 1) for each in (q, k, v)]
        output, state = _chunk(state, chunk, slopes)
        outputs.append(output.transpose(0, 1))
    return torch.cat(outputs), state


def _chunk(state: Tensor, qkv: list[Tensor], slopes: Tensor) -> tuple[Tensor, Tensor]:
    """qkv: (H, rows, d) each. No exponent is above 0, so that nothing overflows."""
    q, k, v = qkv
    count = q.shape[1]
    rows = torch.arange(count, device=q.device, dtype=slopes.dtype)
    distance = (rows[:, None] - rows).clamp(min=0)
    decay = (-slopes[:, None, None] * distance).exp().tril()
    since_start = (-slopes[:, None] * (rows + 1)).exp()[..., None]
    to_end = (-slopes[:, None] * (count - 1 - rows)).exp()[..., None]
    output = (q @ k.mT * decay) @ v + (q * since_start) @ state
    return output, since_start[:, -1:] * state + (k * to_end).mT @ v
