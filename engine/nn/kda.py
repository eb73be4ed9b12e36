"""Kimi delta attention, arXiv:2510.26692, as transformers has it (models/kimi_linear)."""

from torch import Tensor

from engine.cache.states import SlottedState
from engine.kernels import ops
from engine.nn.gated_delta import DeltaConfig, DeltaMixer
from engine.nn.linear import Linear
from engine.nn.module import Vector
from engine.nn.norm import RMSNorm
from engine.nn.step import Step


class KimiDelta(DeltaMixer):
    """Every row of a state forgets at a rate of its own, made as the gate is: at low rank.

    A is kept as it is computed with: -exp(A_log).
    """

    A: Tensor
    dt_bias: Tensor

    def __init__(self, c: DeltaConfig) -> None:
        super().__init__(c)
        key_size, _, value_size = self._widths
        self.q_proj = Linear(c.hidden_size, key_size)
        self.k_proj = Linear(c.hidden_size, key_size)
        self.v_proj = Linear(c.hidden_size, value_size)
        self.f_a_proj = Linear(c.hidden_size, c.linear_key_head_dim)
        self.f_b_proj = Linear(c.linear_key_head_dim, key_size)
        self.slots["A"] = Vector(c.linear_num_value_heads, wide=True)
        self.slots["dt_bias"] = Vector(key_size, wide=True)
        self.b_proj = Linear(c.hidden_size, c.linear_num_value_heads)
        self.g_a_proj = Linear(c.hidden_size, c.linear_value_head_dim)
        self.g_b_proj = Linear(c.linear_value_head_dim, value_size)
        self.o_norm = RMSNorm(c.linear_value_head_dim, c.rms_norm_eps)
        self.o_proj = Linear(value_size, c.hidden_size)

    def __call__(self, x: Tensor, step: Step, cache: SlottedState) -> Tensor:
        qkv = ops.concat(ops.concat(self.q_proj(x), self.k_proj(x)), self.v_proj(x))
        decay = ops.log_decay(self.f_b_proj(self.f_a_proj(x)), self.A, self.dt_bias)
        found = self.recall(qkv, decay, self.b_proj(x), step, cache)
        normed = ops.merge_heads(self.o_norm(found))
        return self.o_proj(ops.sigmoid_mul(self.g_b_proj(self.g_a_proj(x)), normed))
