from typing import Literal

from torch import Tensor

from engine.cache.paged_kv import PagedKV
from engine.cache.spec import KV
from engine.kernels import ops
from engine.nn.config import DecoderConfig
from engine.nn.linear import Linear
from engine.nn.module import Module, Vector
from engine.nn.norm import RMSNorm
from engine.nn.rope import Rope
from engine.nn.step import Step

QKNorm = Literal["full", "head", "turned"]
"""How q and k are normed: whole, before they are split; by head; by head once they are turned."""


class Attention(Module):
    """Grouped-query attention over the paged cache.

    rope: None leaves q and k without positions. scale: of the scores, 1 / sqrt(head_dim) by
    default. window: as in `KV`. softcap: bound of the scores. sinks: a learned score per head that
    takes part in the softmax and gives nothing.
    """

    divides = True  # sinks are of heads
    sinks: Tensor | None = None

    def __init__(
        self,
        c: DecoderConfig,
        rope: Rope | None,
        *,
        scale: float | None = None,
        window: int | None = None,
        qk_norm: QKNorm | None = None,
        softcap: float | None = None,
        sinks: bool = False,
    ) -> None:
        super().__init__()
        query_size = c.num_attention_heads * c.head_dim
        cache_size = c.num_key_value_heads * c.head_dim
        self.q_proj = Linear(c.hidden_size, query_size, bias=c.attention_bias)
        self.k_proj = Linear(c.hidden_size, cache_size, bias=c.attention_bias)
        self.v_proj = Linear(c.hidden_size, cache_size, bias=c.attention_bias)
        self.o_proj = Linear(query_size, c.hidden_size, bias=bool(c.attention_out_bias))
        if qk_norm:
            sizes = (query_size, cache_size) if qk_norm == "full" else (c.head_dim, c.head_dim)
            self.q_norm, self.k_norm = (RMSNorm(size, c.rms_norm_eps) for size in sizes)
        if sinks:
            self.slots["sinks"] = Vector(c.num_attention_heads, wide=True)
        self._qk_norm = qk_norm
        self.rotary_emb = rope
        self.cache_spec = KV(c.num_key_value_heads, c.head_dim, window)
        self._num_heads = c.num_attention_heads
        self._scale = c.head_dim**-0.5 if scale is None else scale
        self._softcap = softcap

    def __call__(self, x: Tensor, step: Step, cache: PagedKV) -> Tensor:
        q, k, v = self.project(x)
        return self.o_proj(ops.merge_heads(self.attend(q, k, v, step, cache)))

    def attend(self, q: Tensor, k: Tensor, v: Tensor, step: Step, cache: PagedKV) -> Tensor:
        """What each head finds, (T, H, d), for q, k and v as `project` gives them."""
        q, k = self.position(q, k, step)
        cache.append(k, v, step.layout)
        return cache.attend(q, step.layout, self._scale, softcap=self._softcap, sinks=self.sinks)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """By head: q (T, H, d), k and v (T, Hkv, d), of x."""
        q, k, v = self.q_proj(x), self.k_proj(x), self.v_proj(x)
        if self._qk_norm == "full":
            q, k = self.q_norm(q), self.k_norm(k)
        q = ops.split_heads(q, self._num_heads)
        k, v = (ops.split_heads(each, self.cache_spec.num_heads) for each in (k, v))
        if self._qk_norm == "head":
            q, k = self.q_norm(q), self.k_norm(k)
        return q, k, v

    def position(self, q: Tensor, k: Tensor, step: Step) -> tuple[Tensor, Tensor]:
        """The same q and k as they are at the rows' positions."""
        rope = self.rotary_emb
        if rope is not None:
            table = step.rope_table(rope)
            q, k = ops.rope(q, table), ops.rope(k, table)
            if rope.query_beta:
                q = ops.scale_by_position(q, step.positions, rope.query_beta, rope.query_period)
        if self._qk_norm == "turned":
            q, k = self.q_norm(q), self.k_norm(k)
        return q, k
