from torch import Tensor

from engine.nn.attention import Attention
from engine.nn.config import DecoderConfig
from engine.nn.norm import LayerNorm
from engine.nn.rope import Rope


class HeadNormedAttention(Attention):
    """Each head of q and k has a layer norm of its own, before it is rotated."""

    def __init__(self, c: DecoderConfig, rope: Rope) -> None:
        super().__init__(c, rope)
        size, eps = c.head_dim, c.rms_norm_eps
        self.q_layernorm = LayerNorm(size, eps, bias=False, num_heads=c.num_attention_heads)
        self.k_layernorm = LayerNorm(size, eps, bias=False, num_heads=c.num_key_value_heads)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = super().project(x)
        return self.q_layernorm(q), self.k_layernorm(k), v
