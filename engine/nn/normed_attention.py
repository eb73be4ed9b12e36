"""Attention as Gemma has it since 3n: q, k and v are normed, scores are not scaled."""

from torch import Tensor

from engine.cache.paged_kv import PagedKV
from engine.cache.spec import KV
from engine.kernels import ops
from engine.nn.attention import Attention
from engine.nn.config import DecoderConfig
from engine.nn.linear import Linear
from engine.nn.module import Module
from engine.nn.norm import RMSNorm
from engine.nn.rope import Rope
from engine.nn.step import Step


class NormedAttention(Attention):
    """The norm of values has no weight.

    keys_as_values: there is no v_proj; values are what k_proj gives, with their own norm.
    """

    def __init__(
        self,
        c: DecoderConfig,
        rope: Rope,
        *,
        window: int | None = None,
        keys_as_values: bool = False,
    ) -> None:
        super().__init__(c, rope, scale=1.0, window=window, qk_norm="head")
        if keys_as_values:
            self.v_proj = self.k_proj
        self._eps = c.rms_norm_eps

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q = ops.split_heads(self.q_proj(x), self._num_heads)
        k = ops.split_heads(self.k_proj(x), self.cache_spec.num_heads)
        v = k
        if self.v_proj is not self.k_proj:
            v = ops.split_heads(self.v_proj(x), self.cache_spec.num_heads)
        return self.q_norm(q), self.k_norm(k), ops.rms_norm(v, None, self._eps)


class BorrowingAttention(Module):
    """Attends to what an earlier layer has cached, and adds nothing to it."""

    def __init__(self, c: DecoderConfig, rope: Rope, *, window: int | None = None) -> None:
        super().__init__()
        query_size = c.num_attention_heads * c.head_dim
        self.q_proj = Linear(c.hidden_size, query_size, bias=c.attention_bias)
        self.o_proj = Linear(query_size, c.hidden_size, bias=bool(c.attention_out_bias))
        self.q_norm = RMSNorm(c.head_dim, c.rms_norm_eps)
        self.rotary_emb = rope
        self.cache_spec = KV(c.num_key_value_heads, c.head_dim, window)
        self._num_heads = c.num_attention_heads

    def __call__(self, x: Tensor, step: Step, cache: PagedKV) -> Tensor:
        q = self.q_norm(ops.split_heads(self.q_proj(x), self._num_heads))
        q = ops.rope(q, step.rope_table(self.rotary_emb))
        return self.o_proj(ops.merge_heads(cache.attend(q, step.layout, scale=1.0)))
