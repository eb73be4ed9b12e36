from torch import Tensor

from engine.cache.paged_kv import PagedKV
from engine.kernels import ops
from engine.nn.attention import Attention, QKNorm
from engine.nn.config import DecoderConfig
from engine.nn.rope import Rope
from engine.nn.step import Step


class EncoderAttention(Attention):
    """Attention both ways to the whole text, which is all in one step: no cache is read or kept.

    reach: tokens are seen at most so far away; all of them by default. The rest as in `Attention`.
    """

    def __init__(
        self,
        c: DecoderConfig,
        rope: Rope | None = None,
        *,
        scale: float | None = None,
        reach: int | None = None,
        qk_norm: QKNorm | None = None,
    ) -> None:
        super().__init__(c, rope, scale=scale, qk_norm=qk_norm)
        self._reach = reach

    def attend(self, q: Tensor, k: Tensor, v: Tensor, step: Step, cache: PagedKV | None) -> Tensor:
        del cache
        q, k = self.position(q, k, step)
        return ops.encoder_attention(q, k, v, step.layout, scale=self._scale, reach=self._reach)
