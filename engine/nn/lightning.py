from torch import Tensor

from engine.cache.spec import State
from engine.cache.states import SlottedState
from engine.kernels import ops
from engine.nn.config import DecoderConfig
from engine.nn.linear import Linear
from engine.nn.module import Module, Table
from engine.nn.norm import RMSNorm
from engine.nn.step import Step

_NORM_EPS = 1e-6
"""Whatever the config says of the other norms."""


class Lightning(Module):
    """MiniMax's linear attention: gated, normed over all heads, without positions.

    Heads forget at slopes that fall from head to head and, in the mean, from layer to layer.
    """

    slopes: Tensor

    def __init__(self, c: DecoderConfig, layer: int) -> None:
        size = c.num_attention_heads * c.head_dim
        super().__init__(slopes=Table(_slopes(c.num_attention_heads, layer, c.num_hidden_layers)))
        self.qkv_proj = Linear(c.hidden_size, 3 * size)
        self.norm = RMSNorm(size, _NORM_EPS)
        self.output_gate = Linear(c.hidden_size, size)
        self.out_proj = Linear(size, c.hidden_size)
        self.cache_spec = State({"kv": (c.num_attention_heads, c.head_dim, c.head_dim)})
        self._num_heads = c.num_attention_heads

    def __call__(self, x: Tensor, step: Step, cache: SlottedState) -> Tensor:
        qkv = ops.split_heads(ops.silu(self.qkv_proj(x)), self._num_heads)
        mixed = ops.linear_attention(qkv, self.slopes, cache["kv"], step.layout)
        normed = self.norm(ops.merge_heads(mixed))
        return self.out_proj(ops.sigmoid_mul(self.output_gate(x), normed))


def _slopes(num_heads: int, layer: int, num_layers: int) -> tuple[float, ...]:
    """Powers of 2^(-8 / heads), for the first layer; of them, hardly anything for the last."""
    share = 1 - layer / (num_layers - 1 + 1e-5) + 1e-5
    return tuple(2 ** (-8 * (head + 1) / num_heads) * share for head in range(num_heads))
