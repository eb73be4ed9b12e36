"""Lightning attention: attention without a softmax, as a state that decays (arXiv:2401.04658)."""

from torch import Tensor

from engine.kernels.batch import BatchLayout
from engine.kernels.ops.op import like, op


@op
def linear_attention(qkv: Tensor, slopes: Tensor, state: Tensor, layout: BatchLayout) -> Tensor:
    """Of each head, row by row: S = exp(-slope) * S + k v^T, then q S: (T, H, d).

    qkv: (T, H, 3d), slopes: (H,) float32, not negative. state: (num_slots, H, d, d), the keys' axis
    first; as of `engine.kernels.ops.recurrent`. In float32; in qkv's dtype.
    """
    return like(qkv, *qkv.shape[:-1], qkv.shape[-1] // 3)
