"""What a layer keeps for a sequence, declared as data."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KV:
    """Keys and values of every token. window: only the last `window` tokens are ever attended."""

    num_heads: int
    head_dim: int
    window: int | None = None

    def bytes_per_token(self, element_bytes: int) -> int:
        return 2 * self.num_heads * self.head_dim * element_bytes


CacheSpec = KV
