"""The mixers of gated delta networks, arXiv:2412.06464, as transformers has them (qwen3_next)."""

from typing import Protocol

from torch import Tensor

from engine.cache.spec import State
from engine.cache.states import SlottedState
from engine.kernels import ops
from engine.nn.columns import split_columns
from engine.nn.config import BaseConfig
from engine.nn.linear import Linear
from engine.nn.module import Module, Vector
from engine.nn.norm import RMSNorm
from engine.nn.short_conv import CausalConv
from engine.nn.step import Step

_L2_EPS = 1e-6


class DeltaConfig(BaseConfig, Protocol):
    @property
    def linear_num_key_heads(self) -> int: ...
    @property
    def linear_num_value_heads(self) -> int: ...
    @property
    def linear_key_head_dim(self) -> int: ...
    @property
    def linear_value_head_dim(self) -> int: ...
    @property
    def linear_conv_kernel_dim(self) -> int: ...


class DeltaMixer(Module):
    """What they all have: a convolution over q, k and v, and the state that v is learned into.

    What is read of a state may be a small difference of large parts, and it is normed then: all is
    float32 on the way. tiled, max_beta: as of `ops.gated_delta_rule`.
    """

    def __init__(self, c: DeltaConfig, *, tiled: bool = False, max_beta: float = 1.0) -> None:
        super().__init__()
        key_size = c.linear_num_key_heads * c.linear_key_head_dim
        value_size = c.linear_num_value_heads * c.linear_value_head_dim
        self._widths = key_size, key_size, value_size
        self.conv1d = CausalConv(sum(self._widths), c.linear_conv_kernel_dim, bias=False)
        heads = c.linear_num_value_heads, c.linear_key_head_dim, c.linear_value_head_dim
        self.cache_spec = State({"conv": self.conv1d.state_shape, "delta": heads})
        self._num_key_heads, self._num_value_heads = c.linear_num_key_heads, heads[0]
        self._tiled, self._max_beta = tiled, max_beta

    def recall(
        self, qkv: Tensor, decay: Tensor, beta: Tensor, step: Step, cache: SlottedState
    ) -> Tensor:
        """What each row reads of the state, (T, H, dv) float32. qkv: (T, C), as it is projected."""
        mixed = ops.silu(self.conv1d(ops.widen(qkv), cache["conv"], step.layout))
        q, k, v = split_columns(mixed, self._widths)
        q, k = (ops.l2_norm(ops.split_heads(each, self._num_key_heads), _L2_EPS) for each in (q, k))
        return ops.gated_delta_rule(
            q,
            k,
            ops.split_heads(v, self._num_value_heads),
            decay,
            beta,
            cache["delta"],
            step.layout,
            tiled=self._tiled,
            max_beta=self._max_beta,
        )


class GatedDeltaNet(DeltaMixer):
    """Qwen3-Next's: a state forgets at one rate a head, and a gate follows the norm.

    separate: q, k and v have a matrix each. norm_eps: the config's by default. A is kept as it is
    computed with: -exp(A_log).
    """

    A: Tensor
    dt_bias: Tensor

    def __init__(
        self,
        c: DeltaConfig,
        *,
        separate: bool = False,
        tiled: bool = False,
        max_beta: float = 1.0,
        norm_eps: float | None = None,
    ) -> None:
        super().__init__(c, tiled=tiled, max_beta=max_beta)
        key_size, _, value_size = self._widths
        if separate:
            self.q_proj = Linear(c.hidden_size, key_size)
            self.k_proj = Linear(c.hidden_size, key_size)
            self.v_proj = Linear(c.hidden_size, value_size)
        else:
            self.in_proj_qkv = Linear(c.hidden_size, sum(self._widths))
        self.in_proj_z = Linear(c.hidden_size, value_size)
        self.in_proj_b = Linear(c.hidden_size, c.linear_num_value_heads)
        self.in_proj_a = Linear(c.hidden_size, c.linear_num_value_heads)
        self.slots["A"] = Vector(c.linear_num_value_heads, wide=True)
        self.slots["dt_bias"] = Vector(c.linear_num_value_heads, wide=True)
        self.norm = RMSNorm(c.linear_value_head_dim, norm_eps or c.rms_norm_eps)
        self.out_proj = Linear(value_size, c.hidden_size)
        self._separate = separate

    def __call__(self, x: Tensor, step: Step, cache: SlottedState) -> Tensor:
        decay = ops.log_decay(self.in_proj_a(x), self.A, self.dt_bias)
        found = self.recall(self._qkv(x), decay, self.in_proj_b(x), step, cache)
        normed = ops.merge_heads(self.norm(found))
        return self.out_proj(ops.mul(normed, ops.silu(ops.widen(self.in_proj_z(x)))))

    def _qkv(self, x: Tensor) -> Tensor:
        if not self._separate:
            return self.in_proj_qkv(x)
        return ops.concat(ops.concat(self.q_proj(x), self.k_proj(x)), self.v_proj(x))
