"""What all of RWKV's layers have: each part sees, beside a row, the row before it."""

from collections.abc import Callable
from typing import Any, Protocol

from torch import Tensor

from engine.cache.spec import State
from engine.cache.states import SlottedState
from engine.kernels import ops
from engine.kernels.weight import Weight
from engine.nn.config import BaseConfig
from engine.nn.linear import Linear
from engine.nn.module import Matrix, Module, Vector
from engine.nn.norm import layer_norm
from engine.nn.step import Step


class RwkvConfig(BaseConfig, Protocol):
    @property
    def intermediate_size(self) -> int: ...
    @property
    def head_size(self) -> int: ...


class StateMixer(Protocol):
    @property
    def cache_spec(self) -> State: ...
    def __call__(self, x: Tensor, step: Step, cache: SlottedState) -> Tensor: ...


class RwkvLayer(Module):
    """Two parts, of which each reads a norm of the residual stream and adds to the stream.

    One state holds what both keep. residual_scale: factor on what is added.
    """

    def __init__(
        self,
        c: BaseConfig,
        attn: StateMixer,
        ffn: StateMixer,
        *,
        residual_scale: float | None = None,
    ) -> None:
        super().__init__()
        self.attn_norm = layer_norm(c)
        self.attn = attn
        self.ffn_norm = layer_norm(c)
        self.ffn = ffn
        self._residual_scale = residual_scale

    @property
    def cache_spec(self) -> State:
        return State({**self.attn.cache_spec.shapes, **self.ffn.cache_spec.shapes})

    def __call__(self, x: Tensor, step: Step, cache: Any) -> Tensor:
        x = self._add(x, self.attn(self.attn_norm(x), step, cache))
        return self._add(x, self.ffn(self.ffn_norm(x), step, cache))

    def _add(self, x: Tensor, y: Tensor) -> Tensor:
        return ops.add(x, ops.scale(y, self._residual_scale) if self._residual_scale else y)


class NormedEmbedding(Module):
    """A norm between the embedding and the first layer."""

    def __init__(self, c: BaseConfig) -> None:
        super().__init__()
        self.norm = layer_norm(c)

    def enter(self, x: Tensor, _: Step) -> Tensor:
        return self.norm(x)

    def leave(self, x: Tensor) -> Tensor:
        return x


class LowRank(Module):
    """up(act(down(x))) + bias, through `rank` values; with a bias in float32.

    wide: computed in float32 throughout, as decays want.
    """

    down: Weight
    up: Weight
    bias: Tensor | None = None

    def __init__(
        self,
        in_features: int,
        rank: int,
        out_features: int,
        act: Callable[[Tensor], Tensor] | None = None,
        *,
        bias: bool = True,
        wide: bool = False,
    ) -> None:
        down, up = Matrix(rank, in_features, wide=wide), Matrix(out_features, rank, wide=wide)
        super().__init__(down=down, up=up)
        if bias:
            self.slots["bias"] = Vector(out_features, wide=True)
        self._act = act

    def __call__(self, x: Tensor) -> Tensor:
        inner = ops.linear(x, self.down)
        result = ops.linear(self._act(inner) if self._act else inner, self.up)
        return result if self.bias is None else ops.add(result, self.bias)


class ChannelMix(Module):
    """value(relu(key(x))^2), of rows mixed with those before them: RWKV-7's."""

    x_k: Tensor

    def __init__(self, c: RwkvConfig) -> None:
        super().__init__(x_k=Vector(c.hidden_size, wide=True))
        self.key = Linear(c.hidden_size, c.intermediate_size)
        self.value = Linear(c.intermediate_size, c.hidden_size)
        self.cache_spec = State({"channel_shift": (c.hidden_size,)})

    def __call__(self, x: Tensor, step: Step, cache: SlottedState) -> Tensor:
        return self.feed(x, ops.token_shift(x, cache["channel_shift"], step.layout))

    def feed(self, x: Tensor, previous: Tensor) -> Tensor:
        """What x gives after its previous rows."""
        keys = self.key(ops.lerp(x, previous, self.x_k))
        return self.value(ops.relu_squared(keys))
