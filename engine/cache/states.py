"""The states of recurrent layers as a layer sees them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from engine.cache.latent import PagedIndexedLatent, PagedLatent
from engine.cache.paged_kv import PagedKV
from engine.cache.spec import State


@dataclass(frozen=True, slots=True, eq=False)
class SlottedState:
    """One layer's states of all sequences: each tensor is (num_slots, *shape), float32.

    A step reads a sequence's state from one slot and leaves it in one, `BatchLayout.state_reads`
    and `state_writes`; what else is in the tensors means nothing.
    """

    spec: State
    by_name: Mapping[str, Tensor]

    @classmethod
    def of(
        cls, spec: State, num_slots: int, tensor: Callable[[str, tuple[int, ...]], Tensor]
    ) -> "SlottedState":
        """Of new float32 tensors, each asked for by name and shape."""
        made = {name: tensor(name, (num_slots, *shape)) for name, shape in spec.shapes.items()}
        return cls(spec, made)

    def __getitem__(self, name: str) -> Tensor:
        return self.by_name[name]

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return tuple(self.by_name.values())

    @property
    def nbytes(self) -> int:
        return sum(tensor.nbytes for tensor in self.tensors)


@dataclass(frozen=True, slots=True, eq=False)
class TokensAndState:
    """Both kinds, of a layer that has both."""

    tokens: PagedKV | PagedLatent | PagedIndexedLatent
    state: SlottedState

    @property
    def by_name(self) -> Mapping[str, Tensor]:
        return {**self.tokens.by_name, **self.state.by_name}

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return *self.tokens.tensors, *self.state.tensors

    @property
    def nbytes(self) -> int:
        return self.tokens.nbytes + self.state.nbytes
