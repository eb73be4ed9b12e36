from torch import Tensor

from engine.kernels.batch import BatchLayout, ForwardBatch
from engine.nn.module import Module
from engine.nn.rope import Rope


class Step:
    """One forward's batch, with what its layers share. Made anew for each forward."""

    def __init__(self, batch: ForwardBatch) -> None:
        self.batch = batch
        self._rope_tables: dict[Rope, Tensor] = {}
        self.kept: dict[Module, Tensor] = {}
        """What a module has computed, for later layers to read."""

    @property
    def layout(self) -> BatchLayout:
        return self.batch.layout

    @property
    def positions(self) -> Tensor:
        """Of the rows in their sequences, (T,)."""
        return self.batch.positions

    def rope_table(self, rope: Rope) -> Tensor:
        """Computed once for all layers that share a `Rope`."""
        if rope not in self._rope_tables:
            self._rope_tables[rope] = rope.table(self.batch)
        return self._rope_tables[rope]
