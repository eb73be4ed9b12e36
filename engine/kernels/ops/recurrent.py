"""What reads and writes a recurrent state. Each op's T rows are those of the layout's sequences.

A state (num_slots, ...) is float32. Of each sequence it is read from its slot of
`layout.state_reads`, zero where that is -1, and left in its slot of `layout.state_writes`.
"""

from torch import Tensor

from engine.kernels.batch import BatchLayout
from engine.kernels.ops.op import like, op


@op
def causal_conv(
    x: Tensor, weight: Tensor, bias: Tensor | None, state: Tensor, layout: BatchLayout
) -> Tensor:
    """Of each channel, the sum over k of weight[k] * x[row - K + 1 + k], plus bias: (T, C).

    x: (T, C), weight: (C, K), bias: (C,). state: (num_slots, C, K - 1), the channel's last inputs.
    In float32; in x's dtype.
    """
    return like(x, *x.shape)


@op
def token_shift(x: Tensor, state: Tensor, layout: BatchLayout) -> Tensor:
    """The row before each row of its sequence, in x's dtype: (T, n). state: (num_slots, n)."""
    return like(x, *x.shape)
