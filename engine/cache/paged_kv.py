"""The paged cache as a layer sees it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from engine.cache.spec import KV
from engine.kernels import ops
from engine.kernels.batch import BatchLayout


@dataclass(frozen=True, slots=True, eq=False)
class PagedKV:
    """One layer's keys and values: (num_blocks, block_size, num_heads, head_dim) each.

    In q8_0 the last is `row_bytes(head_dim)`: uint8, rows of `engine.kernels.q8_0`.
    """

    spec: KV
    keys: Tensor
    values: Tensor

    @classmethod
    def of(
        cls,
        spec: KV,
        num_blocks: int,
        block_size: int,
        tensor: Callable[[str, tuple[int, ...]], Tensor],
    ) -> "PagedKV":
        """Of new tensors, each asked for by name and shape."""
        shape = (num_blocks, block_size, spec.num_heads, spec.row_width)
        return cls(spec, tensor("keys", shape), tensor("values", shape))

    @property
    def by_name(self) -> Mapping[str, Tensor]:
        return {"keys": self.keys, "values": self.values}

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return self.keys, self.values

    @property
    def nbytes(self) -> int:
        return self.keys.nbytes + self.values.nbytes

    def append(self, k: Tensor, v: Tensor, layout: BatchLayout) -> None:
        """Puts the rows' keys and values, (T, num_heads, head_dim), in the layout's slots."""
        ops.cache_write(k, v, self.keys, self.values, layout)

    def attend(
        self,
        q: Tensor,
        layout: BatchLayout,
        scale: float,
        *,
        softcap: float | None = None,
        sinks: Tensor | None = None,
        alibi: Tensor | None = None,
    ) -> Tensor:
        """What each row sees of its sequence, (T, heads, head_dim); its own must be appended."""
        return ops.paged_attention(
            q,
            self.keys,
            self.values,
            layout,
            scale=scale,
            window=self.spec.window,
            softcap=softcap,
            sinks=sinks,
            alibi=alibi,
        )
