from torch import Tensor

from engine.cache.paged_kv import PagedKV
from engine.cache.spec import KV
from engine.kernels import ops
from engine.nn.config import DecoderConfig
from engine.nn.linear import Linear
from engine.nn.module import Module
from engine.nn.norm import RMSNorm
from engine.nn.rope import Rope
from engine.nn.step import Step


class Attention(Module):
    """Grouped-query attention over the paged cache.

    scale: of the scores, 1 / sqrt(head_dim) by default. window: as in `KV`. qk_norm: q and k of
    each head are normed before they are rotated. softcap: bound of the scores.
    """

    def __init__(
        self,
        c: DecoderConfig,
        rope: Rope,
        *,
        scale: float | None = None,
        window: int | None = None,
        qk_norm: bool = False,
        softcap: float | None = None,
    ) -> None:
        super().__init__()
        query_size = c.num_attention_heads * c.head_dim
        cache_size = c.num_key_value_heads * c.head_dim
        self.q_proj = Linear(c.hidden_size, query_size, bias=c.attention_bias)
        self.k_proj = Linear(c.hidden_size, cache_size, bias=c.attention_bias)
        self.v_proj = Linear(c.hidden_size, cache_size, bias=c.attention_bias)
        self.o_proj = Linear(query_size, c.hidden_size, bias=c.attention_bias)
        self.q_norm = RMSNorm(c.head_dim, c.rms_norm_eps) if qk_norm else None
        self.k_norm = RMSNorm(c.head_dim, c.rms_norm_eps) if qk_norm else None
        self.rotary_emb = rope
        self.cache_spec = KV(c.num_key_value_heads, c.head_dim, window)
        self._num_heads = c.num_attention_heads
        self._scale = c.head_dim**-0.5 if scale is None else scale
        self._softcap = softcap

    def __call__(self, x: Tensor, step: Step, cache: PagedKV) -> Tensor:
        q = ops.split_heads(self.q_proj(x), self._num_heads)
        k = ops.split_heads(self.k_proj(x), self.cache_spec.num_heads)
        v = ops.split_heads(self.v_proj(x), self.cache_spec.num_heads)
        if self.q_norm and self.k_norm:
            q, k = self.q_norm(q), self.k_norm(k)
        table = step.rope_table(self.rotary_emb)
        cache.append(ops.rope(k, table), v, step.layout)
        attended = cache.attend(ops.rope(q, table), step.layout, self._scale, self._softcap)
        return self.o_proj(ops.merge_heads(attended))
