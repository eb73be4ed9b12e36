from torch import Tensor

from engine.cache.spec import State
from engine.cache.states import SlottedState
from engine.kernels import ops
from engine.kernels.batch import BatchLayout
from engine.nn.linear import Linear
from engine.nn.module import Module, Vector
from engine.nn.step import Step


class CausalConv(Module):
    """A depthwise convolution over a sequence: each channel's last `kernel_size` inputs, weighed."""

    weight: Tensor
    bias: Tensor | None = None

    def __init__(self, channels: int, kernel_size: int, *, bias: bool) -> None:
        super().__init__(weight=Vector(kernel_size, wide=True, count=channels))
        if bias:
            self.slots["bias"] = Vector(channels, wide=True)
        self.state_shape = channels, kernel_size - 1

    def __call__(self, x: Tensor, state: Tensor, layout: BatchLayout) -> Tensor:
        return ops.causal_conv(x, self.weight, self.bias, state, layout)


class ShortConv(Module):
    """LFM2's mixer: out(c * conv(b * x)), with b, c and x the thirds of one projection."""

    def __init__(self, hidden_size: int, kernel_size: int, *, bias: bool = False) -> None:
        super().__init__()
        self.in_proj = Linear(hidden_size, 3 * hidden_size, bias=bias)
        self.conv = CausalConv(hidden_size, kernel_size, bias=bias)
        self.out_proj = Linear(hidden_size, hidden_size, bias=bias)
        self.cache_spec = State({"conv": self.conv.state_shape})
        self._hidden_size = hidden_size

    def __call__(self, x: Tensor, step: Step, cache: SlottedState) -> Tensor:
        projected, n = self.in_proj(x), self._hidden_size
        b, c, x = (ops.select_columns(projected, i * n, (i + 1) * n) for i in range(3))
        mixed = self.conv(ops.mul(x, b), cache["conv"], step.layout)
        return self.out_proj(ops.mul(mixed, c))
