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


@dataclass(frozen=True, slots=True)
class Latent:
    """One vector of every token, from which all heads make their keys and values."""

    dim: int

    def bytes_per_token(self, element_bytes: int) -> int:
        return self.dim * element_bytes


@dataclass(frozen=True, slots=True)
class IndexedLatent(Latent):
    """A latent, and the key by which an indexer judges whether to attend to it."""

    index_dim: int

    def bytes_per_token(self, element_bytes: int) -> int:
        return (self.dim + self.index_dim) * element_bytes


CacheSpec = KV | Latent
