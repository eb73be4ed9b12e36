"""The delta rule: a state takes in of a row only what it does not know of it yet.

States and their slots are as in `engine.kernels.ops.recurrent`.
"""

import torch
from torch import Tensor

from engine.kernels.batch import BatchLayout
from engine.kernels.ops.op import like, op


@op
def l2_norm(x: Tensor, eps: float) -> Tensor:
    """x / sqrt(sum(x^2) + eps) over the last axis of x (..., n), in float32; in x's dtype."""
    return like(x, *x.shape)


@op
def log_decay(x: Tensor, factor: Tensor, bias: Tensor) -> Tensor:
    """factor * softplus(x + bias), the logarithm of what a state keeps: (T, H * d) float32.

    x: (T, H * d), bias: (H * d,), factor: (H,), below 0, each for the d values of its head.
    """
    return like(x, *x.shape, dtype=torch.float32)


@op
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
    """What each row reads of the state that it has changed: (T, H, dv), in v's dtype.

    Of each head, with S (dk, dv) before the row:

        S <- diag(exp(decay)) S
        S <- S + k (max_beta * sigmoid(beta) * (v - S^T k))^T
        S^T q / sqrt(dk)

    q, k: (T, Hk, dk), normed; v: (T, H, dv); beta: (T, H). decay: float32, at most 0, (T, H), or
    (T, H * dk) where each row of S has its own. A head of v goes with the head h // (H / Hk) of q
    and k, or tiled with h % Hk. state: (num_slots, H, dk, dv). In float32.

    Gated delta networks, arXiv:2412.06464; with decays by row, Kimi Linear, arXiv:2510.26692.
    """
    return like(v, *v.shape)
