from dataclasses import dataclass

from engine.api import DType, KVDType, ModelCard
from gateway.pool.place import Place
from gateway.pool.terms import DEFAULT_TERMS, Terms


@dataclass(frozen=True, slots=True)
class PoolModel:
    """What the pool needs to know of a catalog entry. `key`: of the checkpoint, not of an alias.

    id: the name by which groups know it; the key, if none is given. dtype, kv_dtype: as of `LoadOrder`,
    those that the card is for.
    """

    key: str
    card: ModelCard
    path: str
    id: str | None = None
    terms: Terms = DEFAULT_TERMS
    dtype: DType = "auto"
    kv_dtype: KVDType = "auto"


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to use a loaded model. It stays there, or comes back, until the lease ends."""

    model: str
    handle: int
    place: Place
    kv_tokens: int

    @property
    def device(self) -> str:
        """Whom the engine is to ask."""
        return self.place[0]
