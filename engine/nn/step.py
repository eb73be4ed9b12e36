from torch import Tensor

from engine.kernels.batch import BatchLayout, ForwardBatch
from engine.nn.rope import Rope


class Step:
    """One forward's batch, with what its layers share. Made anew for each forward."""

    def __init__(self, batch: ForwardBatch) -> None:
        self.batch = batch
        self._rope_tables: dict[Rope, Tensor] = {}

    @property
    def layout(self) -> BatchLayout:
        return self.batch.layout

    def rope_table(self, rope: Rope) -> Tensor:
        """Computed once for all layers that share a `Rope`."""
        if rope not in self._rope_tables:
            self._rope_tables[rope] = rope.table(self.batch.positions)
        return self._rope_tables[rope]
