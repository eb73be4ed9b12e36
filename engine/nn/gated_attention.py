from torch import Tensor

from engine.cache.paged_kv import PagedKV
from engine.kernels import ops
from engine.nn.attention import Attention
from engine.nn.config import DecoderConfig
from engine.nn.linear import Linear
from engine.nn.rope import Rope
from engine.nn.step import Step


class GatedAttention(Attention):
    """Qwen3-Next's: each head's output goes through a gate, projected together with its query.

    The rows of q_proj are, head by head, those of the query and those of the gate.
    """

    def __init__(self, c: DecoderConfig, rope: Rope) -> None:
        super().__init__(c, rope, qk_norm="head")
        gated_size = 2 * c.num_attention_heads * c.head_dim
        self.q_proj = Linear(c.hidden_size, gated_size, bias=c.attention_bias)
        self._head_dim = c.head_dim

    def __call__(self, x: Tensor, step: Step, cache: PagedKV) -> Tensor:
        both = ops.split_heads(self.q_proj(x), self._num_heads)
        gate = ops.select_columns(both, self._head_dim, 2 * self._head_dim)
        q = self.q_norm(ops.select_columns(both, 0, self._head_dim))
        k = self.k_norm(ops.split_heads(self.k_proj(x), self.cache_spec.num_heads))
        v = ops.split_heads(self.v_proj(x), self.cache_spec.num_heads)
        attended = self.attend(q, k, v, step, cache)
        return self.o_proj(ops.merge_heads(ops.sigmoid_mul(gate, attended)))
