"""Attention over the paged cache, and writing to it."""

from torch import Tensor

from engine.kernels.batch import BatchLayout
from engine.kernels.ops.op import like, op


@op
def cache_write(k: Tensor, v: Tensor, keys: Tensor, values: Tensor, layout: BatchLayout) -> None:
    """Writes k, v (T, Hkv, d) to the layout's slots of keys, values (blocks, block_size, Hkv, d).

    Those may be rows of `engine.kernels.q8_0` instead, (..., row_bytes(d)), known by their dtype.
    Only this op, `latent_write` and those of `recurrent` change an argument.
    """


@op
def paged_attention(
    q: Tensor,
    keys: Tensor,
    values: Tensor,
    layout: BatchLayout,
    *,
    scale: float,
    window: int | None = None,
    softcap: float | None = None,
    sinks: Tensor | None = None,
    alibi: Tensor | None = None,
) -> Tensor:
    """Causal attention of each sequence's rows to its own cached tokens: (T, H, d of values).

    q: (T, H, d); keys, values: as in `cache_write`, the rows' own already written. Query
    head h reads cache head h // (H / Hkv). softcap c makes c * tanh(score / c) of scaled scores.
    window: a row sees the last `window` tokens, itself included. Softmax in float32, over one more
    score per head, sinks (H,) float32, where given: it takes its share and gives no value. alibi:
    (H,) float32, by which each score of a head grows per position of its key (arXiv:2108.12409).
    """
    return like(q, q.shape[0], q.shape[1], values.shape[3])
