from torch import Tensor

from engine.kernels import ops
from engine.nn.config import BaseConfig
from engine.nn.module import Module, Vector


class RMSNorm(Module):
    """Root mean square norm over the last axis. The weight multiplies as it is stored here.

    Families whose files hold w for a factor of 1 + w add the one when they are loaded.
    """

    weight: Tensor

    def __init__(self, size: int, eps: float) -> None:
        super().__init__(weight=Vector(size, wide=True))
        self._eps = eps

    def __call__(self, x: Tensor) -> Tensor:
        return ops.rms_norm(x, self.weight, self._eps)


class LayerNorm(Module):
    """Layer norm over the last axis, with as much to learn as a family has: weight, bias, neither.

    num_heads: where above 0, x is (T, num_heads, size) and each head has a weight of its own.
    """

    weight: Tensor | None = None
    bias: Tensor | None = None

    def __init__(
        self, size: int, eps: float, *, weight: bool = True, bias: bool = True, num_heads: int = 0
    ) -> None:
        super().__init__()
        if weight:
            self.slots["weight"] = Vector(size, wide=True, count=num_heads)
        if bias:
            self.slots["bias"] = Vector(size, wide=True, count=num_heads)
        self.divides = num_heads > 0
        self._eps = eps

    def __call__(self, x: Tensor) -> Tensor:
        return ops.layer_norm(x, self.weight, self.bias, self._eps)


def layer_norm(c: BaseConfig) -> LayerNorm:
    return LayerNorm(c.hidden_size, c.rms_norm_eps)


def unbiased_layer_norm(c: BaseConfig) -> LayerNorm:
    return LayerNorm(c.hidden_size, c.rms_norm_eps, bias=False)


def bare_layer_norm(c: BaseConfig) -> LayerNorm:
    return LayerNorm(c.hidden_size, c.rms_norm_eps, weight=False, bias=False)
