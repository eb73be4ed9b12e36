"""What a layer keeps for a sequence, declared as data."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import prod
from types import MappingProxyType
from typing import Literal

import torch

from engine.kernels.q8_0 import row_bytes

KVDType = Literal["auto", "q8_0", "fp8"]
"""What keys and values are kept in: what the model computes in, or eight bits each.

q8_0: rows of `engine.kernels.q8_0`. fp8: e4m3, without a scale, no greater than 448; no program of native
CPU kernels reads it.
"""

STATE_BYTES = 4
"""Of a state's values: they are float32 whatever the model computes in, as rounding adds up."""


@dataclass(frozen=True, slots=True)
class KV:
    """Keys and values of every token. window: only the last `window` tokens are ever attended.

    kept_in: no layer declares it, see `stored`.
    """

    num_heads: int
    head_dim: int
    window: int | None = None
    kept_in: KVDType = "auto"

    @property
    def row_width(self) -> int:
        """Elements that a head's key or value takes, of `dtype_of`."""
        return row_bytes(self.head_dim) if self.kept_in == "q8_0" else self.head_dim

    def dtype_of(self, computed: torch.dtype) -> torch.dtype:
        """Of what is kept, where the model computes in `computed`."""
        eight_bits = {"q8_0": torch.uint8, "fp8": torch.float8_e4m3fn}
        return eight_bits.get(self.kept_in, computed)

    def bytes_per_token(self, element_bytes: int) -> int:
        element_bytes = element_bytes if self.kept_in == "auto" else 1
        return 2 * self.num_heads * self.row_width * element_bytes

    @property
    def bytes_per_sequence(self) -> int:
        return 0


@dataclass(frozen=True, slots=True)
class Latent:
    """One vector of every token, from which all heads make their keys and values."""

    dim: int

    def bytes_per_token(self, element_bytes: int) -> int:
        return self.dim * element_bytes

    @property
    def bytes_per_sequence(self) -> int:
        return 0


@dataclass(frozen=True, slots=True)
class IndexedLatent(Latent):
    """A latent, and the key by which an indexer judges whether to attend to it."""

    index_dim: int

    def bytes_per_token(self, element_bytes: int) -> int:
        return (self.dim + self.index_dim) * element_bytes


@dataclass(frozen=True, slots=True)
class State:
    """Tensors of a size that does not depend on how long a sequence is, each by name with its shape.

    A layer that keeps nothing declares an empty one.
    """

    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=lambda: MappingProxyType({}))

    def bytes_per_token(self, element_bytes: int) -> int:  # noqa: ARG002  # as of the other kinds
        return 0

    @property
    def bytes_per_sequence(self) -> int:
        return sum(STATE_BYTES * prod(shape) for shape in self.shapes.values())


@dataclass(frozen=True, slots=True)
class Both:
    """What a layer keeps that attends and has a state besides."""

    tokens: "KV | Latent"
    state: State

    def bytes_per_token(self, element_bytes: int) -> int:
        return self.tokens.bytes_per_token(element_bytes)

    @property
    def bytes_per_sequence(self) -> int:
        return self.state.bytes_per_sequence


CacheSpec = KV | Latent | State | Both


def stored(spec: CacheSpec, kv_dtype: KVDType) -> CacheSpec:
    """What a layer declares, as it is kept. Latents and states stay in what they are declared in."""
    if isinstance(spec, Both):
        tokens = spec.tokens
        return (
            replace(spec, tokens=_stored_kv(tokens, kv_dtype)) if isinstance(tokens, KV) else spec
        )
    return _stored_kv(spec, kv_dtype) if isinstance(spec, KV) else spec


def _stored_kv(spec: KV, kv_dtype: KVDType) -> KV:
    return replace(spec, kept_in=kv_dtype)
