"""Selective state spaces: Mamba's scans.

Of each sequence, `state` is read and left as in `engine.kernels.ops.recurrent`. All is computed in
float32. dt: as projected, before `dt_bias`, softplus and, where there are any, limits.
"""

from torch import Tensor

from engine.kernels.batch import BatchLayout
from engine.kernels.ops.op import like, op


@op
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
    """h = exp(dt * a) * h + (dt * x) b^T and y = h c + d * x, row by row: (T, n) in x's dtype.

    x, dt: (T, n); b, c: (T, N); a: (n, N), d, dt_bias: (n,) float32, a negative; state: (num_slots,
    n, N). Mamba, arXiv:2312.00752: n channels, each with N numbers as its state.
    """
    return like(x, *x.shape)


@op
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
    """By head, h = exp(dt * a) * h + (dt * x) b^T and y = h c + d * x: (T, H, p) in x's dtype.

    x: (T, H, p), dt: (T, H); b, c: (T, G, N), each of the G groups for H / G heads in a row;
    a, d, dt_bias: (H,) float32, a negative; state: (num_slots, H, p, N). dt_limits: what dt is kept
    within after softplus. Mamba-2's state space duality, arXiv:2405.21060.
    """
    return like(x, *x.shape)
