"""The recurrences of RWKV. States are read and written as in `engine.kernels.ops.recurrent`.

Of each head, r, k and the decays are (T, H, dk), v is (T, H, dv). Both scans compute in float32 and
give v's dtype.
"""

from torch import Tensor

from engine.kernels.batch import BatchLayout
from engine.kernels.ops.op import like, op


@op
def rwkv6_scan(
    r: Tensor,
    k: Tensor,
    v: Tensor,
    log_decay: Tensor,
    bonus: Tensor,
    state: Tensor,
    layout: BatchLayout,
) -> Tensor:
    """r (S + (bonus * k)^T v), and then S becomes diag(exp(log_decay)) S + k^T v: (T, H, dv).

    log_decay: at most 0. bonus: (H, dk). state: (num_slots, H, dk, dv). RWKV-6, arXiv:2404.05892.
    """
    return like(v, *v.shape)


@op
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
    """S becomes diag(exp(log_decay)) S - (removal * rate)^T (removal S) + k^T v, then r S: (T, H, dv).

    The removal sees S as it was before. removal: (T, H, dk), of length 1 each; rate: (T, H, dk), of
    0..1. log_decay: -0.61..0. state: (num_slots, H, dk, dv). RWKV-7, arXiv:2503.14456.
    """
    return like(v, *v.shape)


@op
def rwkv7_bonus(r: Tensor, k: Tensor, v: Tensor, factors: Tensor) -> Tensor:
    """v times the sum of r * k * factors over its head, in float32; in v's dtype: (T, H, dv).

    factors: (H, dk). What a row of RWKV-7 says to itself beside its state.
    """
    return like(v, *v.shape)
