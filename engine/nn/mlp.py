from collections.abc import Callable

from torch import Tensor

from engine.kernels import ops
from engine.nn.config import DecoderConfig
from engine.nn.linear import Linear
from engine.nn.module import Module

Gate = Callable[[Tensor, Tensor], Tensor]
"""An op of (gate, up)."""

Activation = Callable[[Tensor], Tensor]


class GatedMLP(Module):
    """down(act(gate(x)) * up(x)); `act` is the op of both: SwiGLU by default.

    intermediate_size: where it is not the config's, as in a mixture's shared experts.
    """

    def __init__(
        self,
        c: DecoderConfig,
        act: Gate = ops.silu_mul,
        *,
        intermediate_size: int | None = None,
    ) -> None:
        super().__init__()
        size = intermediate_size or c.intermediate_size
        self.gate_proj = Linear(c.hidden_size, size, bias=c.mlp_bias)
        self.up_proj = Linear(c.hidden_size, size, bias=c.mlp_bias)
        self.down_proj = Linear(size, c.hidden_size, bias=c.mlp_bias)
        self._act = act

    def __call__(self, x: Tensor) -> Tensor:
        return self.down_proj(self._act(self.gate_proj(x), self.up_proj(x)))


class MLP(Module):
    """down(act(up(x))). intermediate_size: as of `GatedMLP`."""

    def __init__(
        self, c: DecoderConfig, act: Activation, *, intermediate_size: int | None = None
    ) -> None:
        super().__init__()
        size = intermediate_size or c.intermediate_size
        self.up_proj = Linear(c.hidden_size, size, bias=c.mlp_bias)
        self.down_proj = Linear(size, c.hidden_size, bias=c.mlp_bias)
        self._act = act

    def __call__(self, x: Tensor) -> Tensor:
        return self.down_proj(self._act(self.up_proj(x)))
