"""RWKV-7: a state from which a row takes what stands under its key before it writes there."""

import math
from typing import Protocol

from torch import Tensor

from engine.cache.spec import State
from engine.cache.states import SlottedState
from engine.kernels import ops
from engine.nn.linear import Linear
from engine.nn.module import Module, Vector
from engine.nn.norm import LayerNorm
from engine.nn.rwkv import LowRank, RwkvConfig
from engine.nn.step import Step

FASTEST_DECAY = math.exp(-0.5)
"""Of the logarithm: in one row a state loses no more than 1 - exp(-0.61)."""

SHORTEST_KEY = 1e-24
"""Squared, what a key's length is taken for at least."""


class Rwkv7Config(RwkvConfig, Protocol):
    @property
    def decay_low_rank_dim(self) -> int: ...
    @property
    def a_low_rank_dim(self) -> int: ...
    @property
    def v_low_rank_dim(self) -> int: ...
    @property
    def gate_low_rank_dim(self) -> int: ...


class TimeMix(Module):
    """RWKV-7's in place of attention (arXiv:2503.14456).

    first: that of the first layer, whose values later layers mix with their own; None if it is this
    one. A gate_low_rank_dim of 0: no gate.
    """

    x_r: Tensor
    x_w: Tensor
    x_k: Tensor
    x_v: Tensor
    x_a: Tensor
    x_g: Tensor
    k_k: Tensor
    k_a: Tensor
    r_k: Tensor

    def __init__(self, c: Rwkv7Config, first: "TimeMix | None") -> None:
        hidden, has_gate = c.hidden_size, c.gate_low_rank_dim > 0
        self._num_heads = hidden // c.head_size
        mixed = "rwkvag" if has_gate else "rwkva"
        super().__init__(
            **{f"x_{name}": Vector(hidden, wide=True) for name in mixed},
            k_k=Vector(hidden, wide=True),
            k_a=Vector(hidden, wide=True),
            r_k=Vector(c.head_size, wide=True, count=self._num_heads),
        )
        self.r_proj = Linear(hidden, hidden)
        self.k_proj = Linear(hidden, hidden)
        self.v_proj = Linear(hidden, hidden)
        self.w_lora = LowRank(hidden, c.decay_low_rank_dim, hidden, ops.tanh, wide=True)
        self.a_lora = LowRank(hidden, c.a_low_rank_dim, hidden)
        self.v_lora = LowRank(hidden, c.v_low_rank_dim, hidden) if first else None
        self.g_lora = (
            LowRank(hidden, c.gate_low_rank_dim, hidden, ops.sigmoid, bias=False)
            if has_gate
            else None
        )
        self.g_norm = LayerNorm(c.head_size, c.head_size * 1e-5, num_heads=self._num_heads)
        self.o_proj = Linear(hidden, hidden)
        self._first = first
        wkv = self._num_heads, c.head_size, c.head_size
        self.cache_spec = State({"time_shift": (hidden,), "wkv": wkv})

    def __call__(self, x: Tensor, step: Step, cache: SlottedState) -> Tensor:
        previous = ops.token_shift(x, cache["time_shift"], step.layout)
        r = self.r_proj(ops.lerp(x, previous, self.x_r))
        k = self.k_proj(ops.lerp(x, previous, self.x_k))
        v = self._values(ops.lerp(x, previous, self.x_v), step)
        decay = ops.sigmoid(self.w_lora(ops.lerp(x, previous, self.x_w)))
        rate = ops.sigmoid(self.a_lora(ops.lerp(x, previous, self.x_a)))
        removal = ops.l2_norm(self._heads(ops.mul(k, self.k_k)), SHORTEST_KEY)
        k = ops.lerp(k, ops.mul(k, rate), self.k_a)
        r, k, v, decay, rate = (self._heads(each) for each in (r, k, v, decay, rate))
        log_decay = ops.scale(decay, -FASTEST_DECAY)
        read = ops.rwkv7_scan(r, k, v, log_decay, removal, rate, cache["wkv"], step.layout)
        said = ops.add(self.g_norm(read), ops.rwkv7_bonus(r, k, v, self.r_k))
        return self.o_proj(self._gated(ops.merge_heads(said), x, previous))

    def _heads(self, x: Tensor) -> Tensor:
        return ops.split_heads(x, self._num_heads)

    def _values(self, x: Tensor, step: Step) -> Tensor:
        """On their way to those of the first layer."""
        values = self.v_proj(x)
        if self._first is None or self.v_lora is None:
            step.kept[self] = values
            return values
        return ops.lerp(values, step.kept[self._first], ops.sigmoid(self.v_lora(x)))

    def _gated(self, y: Tensor, x: Tensor, previous: Tensor) -> Tensor:
        if self.g_lora is None:
            return y
        return ops.mul(y, self.g_lora(ops.lerp(x, previous, self.x_g)))
