"""RWKV-6: what is read of the row before, and how fast a state decays, depend on the data."""

from typing import Protocol

from torch import Tensor

from engine.cache.spec import State
from engine.cache.states import SlottedState
from engine.kernels import ops
from engine.kernels.weight import Weight
from engine.nn.linear import Linear
from engine.nn.module import Matrix, Module, Vector
from engine.nn.norm import LayerNorm
from engine.nn.rwkv import ChannelMix, LowRank, RwkvConfig
from engine.nn.step import Step

MIXED = "wkvrg"
"""What rows are mixed for: decay, key, value, receptance and gate. Files stack them in this order."""


class Rwkv6Config(RwkvConfig, Protocol):
    @property
    def attention_hidden_size(self) -> int: ...
    @property
    def head_size_divisor(self) -> int: ...
    @property
    def time_mix_extra_dim(self) -> int: ...
    @property
    def time_decay_extra_dim(self) -> int: ...


class TimeMix(Module):
    """RWKV-6's in place of attention (arXiv:2404.05892)."""

    x_x: Tensor
    mix_down: Weight
    mix_up: Weight
    bonus: Tensor

    def __init__(self, c: Rwkv6Config) -> None:
        hidden, inner = c.hidden_size, c.attention_hidden_size
        self._num_heads = inner // c.head_size
        super().__init__(
            x_x=Vector(hidden, wide=True),
            **{f"x_{name}": Vector(hidden, wide=True) for name in MIXED},
            mix_down=Matrix(len(MIXED) * c.time_mix_extra_dim, hidden),
            mix_up=Matrix(hidden, c.time_mix_extra_dim, count=len(MIXED)),
            bonus=Vector(c.head_size, wide=True, count=self._num_heads),
        )
        self.decay = LowRank(hidden, c.time_decay_extra_dim, inner, ops.tanh, wide=True)
        self.receptance = Linear(hidden, inner)
        self.key = Linear(hidden, inner)
        self.value = Linear(hidden, inner)
        self.gate = Linear(hidden, inner)
        eps = 1e-5 * c.head_size_divisor**2
        self.ln_x = LayerNorm(c.head_size, eps, num_heads=self._num_heads)
        self.output = Linear(inner, hidden)
        wkv = self._num_heads, c.head_size, c.head_size
        self.cache_spec = State({"time_shift": (hidden,), "wkv": wkv})

    def __call__(self, x: Tensor, step: Step, cache: SlottedState) -> Tensor:
        w, k, v, r, g = self._mixed(x, ops.token_shift(x, cache["time_shift"], step.layout))
        rows = self.receptance(r), self.key(k), self.value(v), self.decay(w)
        r, k, v, w = (ops.split_heads(each, self._num_heads) for each in rows)
        log_decay = ops.scale(ops.exp(w), -1)
        read = ops.rwkv6_scan(r, k, v, log_decay, self.bonus, cache["wkv"], step.layout)
        return self.output(ops.silu_mul(self.gate(g), ops.merge_heads(self.ln_x(read))))

    def _mixed(self, x: Tensor, previous: Tensor) -> list[Tensor]:
        """Rows on their way to the row before, for each of MIXED as far as the data say."""
        inner = ops.tanh(ops.linear(ops.lerp(x, previous, self.x_x), self.mix_down))
        by_use = ops.split_heads(inner, len(MIXED))
        ways = ops.head_linear(by_use, self.mix_up, 0, x.shape[1])
        factors = (
            ops.add(ops.select_stream(ways, index), getattr(self, f"x_{name}"))
            for index, name in enumerate(MIXED)
        )
        return [ops.lerp(x, previous, each) for each in factors]


class GatedChannelMix(ChannelMix):
    """RWKV-6's: what comes out is let through by a receptance."""

    x_r: Tensor

    def __init__(self, c: RwkvConfig) -> None:
        super().__init__(c)
        self.slots["x_r"] = Vector(c.hidden_size, wide=True)
        self.receptance = Linear(c.hidden_size, c.hidden_size)

    def feed(self, x: Tensor, previous: Tensor) -> Tensor:
        gate = self.receptance(ops.lerp(x, previous, self.x_r))
        return ops.sigmoid_mul(gate, super().feed(x, previous))
