"""Models whose forward is replayed on an accelerator."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import structlog
import torch
from torch import Tensor

from engine.cache.views import CacheView
from engine.core.device_graphs import graphs_of
from engine.devices import Accelerator
from engine.kernels import group as groups
from engine.kernels.batch import BatchLayout, ForwardBatch
from engine.kernels.group import Group
from engine.kernels.registry import find
from engine.kernels.replay.graphs import Shape, shape_for
from engine.kernels.replay.program import Arrivals, Constants, Program, listing_of
from engine.kernels.trace import Tape
from engine.kernels.weight import Weight
from engine.models.limits import DEVICE
from engine.nn.model import Model, Traits
from engine.nn.module import modules, parameters

log = structlog.get_logger()


class DeviceModel:
    """A loaded model and its program on an accelerator, over one set of caches.

    tape: of the same model, from `engine.models.card.tape_of`. arrivals: of weights that are still on
    their way. Batches are given in host memory, and a token that the device has drawn and nobody else
    knows yet as -1 - its row in `drawn`. The thread that computes is the only one to call `forward`.
    """

    def __init__(
        self,
        model: Model,
        tape: Tape,
        caches: Sequence[CacheView],
        arrivals: Arrivals | None,
        accelerator: Accelerator,
    ) -> None:
        self._model = model  # keeps the weights
        self.accelerator = accelerator
        constants = _constants(model, caches)
        numbers = {each.path: number for number, each in enumerate(parameters(model))}
        self.program = Program(listing_of(tape), constants, accelerator.device, arrivals, numbers)
        self._arrivals = arrivals
        if self.program.references:
            log.info("ops_run_in_torch", ops=dict(self.program.references))
        self._graphs = graphs_of(accelerator)
        self._owner = _owner(tape, constants, accelerator)
        self._resolve = find("drawn_ids", device=accelerator.device.type)
        self._is_alone = groups.LABEL not in constants

    limits = DEVICE

    @property
    def drawn(self) -> Tensor:
        """(limits.logit_rows,) int64 on the device: the tokens that the last step has drawn."""
        return self._graphs.drawn

    @property
    def vocab_size(self) -> int:
        return self._model.vocab_size

    @property
    def traits(self) -> Traits:
        return self._model.traits

    @property
    def length_switch(self) -> int | None:
        return self._model.length_switch

    @torch.inference_mode()
    def forward(self, batch: ForwardBatch, caches: Sequence[CacheView]) -> Tensor:  # noqa: ARG002
        """As `Model.forward`, with the caches that it was made for; valid until the next.

        Returns before the device has computed it.
        """
        with self._graphs.turn, self.accelerator.compute_stream():
            shape = self._shape_of(batch)
            if shape is None:
                return self._run(self._moved(batch))
            # a graph of an earlier life of the model waits for nothing, and none can be captured
            if self._arrivals is not None and not self._arrivals.is_complete:
                self._arrivals.wait_for_all()
            result = self._graphs.run(self._owner, shape, batch, self._run)
            return result[: len(batch.logit_rows)]

    @torch.inference_mode()
    def prepare(self) -> bool:
        """Captures a graph that steps have asked for, if there is any; some 0.1 s. Nothing may run."""
        # ranks that compute together capture together: at a batch that all of them get
        with self._graphs.turn, self.accelerator.compute_stream():
            return self._is_alone and self._graphs.prepare(self._owner, self._run)

    def _shape_of(self, batch: ForwardBatch) -> Shape | None:
        """Of a batch in which every sequence has one row, and is wanted of it what comes next."""
        layout, num_rows = batch.layout, len(batch.token_ids)
        is_decode = layout.longest_query == 1 and len(batch.logit_rows) == num_rows
        # a group that meets anew has other communicators, of which graphs would not know
        if not is_decode or not self.traits.generates or not self._is_alone:
            return None
        return shape_for(num_rows, layout.longest_context, layout.block_size)

    def _run(self, batch: ForwardBatch) -> Tensor:
        token_ids = self._resolve(batch.token_ids, self.drawn)
        return self.program.run(replace(batch, token_ids=token_ids))

    def _moved(self, batch: ForwardBatch) -> ForwardBatch:
        """The batch on the device, by one copy."""
        layout = batch.layout
        rows = (batch.token_ids, batch.positions, batch.lengths, batch.logit_rows)
        places = (layout.query_starts, layout.context_lens, layout.block_tables)
        slots = (layout.slots, layout.state_reads, layout.state_writes)
        given = [*rows, *places, *slots, *([] if batch.segments is None else [batch.segments])]
        sizes = [tensor.numel() for tensor in given]
        flat = torch.empty(sum(sizes), dtype=torch.int64, device=self.accelerator.device)

        def fill(host: Tensor) -> None:
            torch.cat([tensor.flatten() for tensor in given], out=host)

        self._graphs.staging.send(flat, fill)
        token_ids, positions, lengths, logit_rows, *rest = torch.split_with_sizes(flat, sizes)
        starts, lens, tables, slot_of, reads, writes, *segments = rest
        return ForwardBatch(
            token_ids,
            positions,
            lengths,
            logit_rows,
            BatchLayout(
                starts,
                lens,
                tables.view(layout.block_tables.shape),
                slot_of,
                reads,
                writes,
                layout.block_size,
                layout.longest_query,
                layout.longest_context,
            ),
            segments[0] if segments else None,
        )


def _constants(model: Model, caches: Sequence[CacheView]) -> Constants:
    found: dict[str, Weight | Tensor | Group] = {
        each.path: each.get() for each in parameters(model)
    }
    for index, cache in enumerate(caches):
        found |= {f"cache.{index}.{name}": tensor for name, tensor in cache.by_name.items()}
    group = next((part.group for _, part in modules(model) if part.group is not None), None)
    return found if group is None else {**found, groups.LABEL: group}


@dataclass(frozen=True, slots=True, eq=False)
class _Owner:
    """Of graphs: a model at its addresses."""

    addresses: tuple[Hashable, ...]


def _owner(tape: Tape, constants: Constants, accelerator: Accelerator) -> _Owner:
    """The one before, with its graphs, if the model is where it was; the recording remembers it."""
    key = "graphs", accelerator.uuid
    addresses = tuple(chain.from_iterable(map(_address, constants.values())))
    owner: _Owner | None = tape.compiled.get(key)
    if owner is None or owner.addresses != addresses:
        if owner is not None:
            graphs_of(accelerator).abandon(owner)
        owner = tape.compiled[key] = _Owner(addresses)
    return owner


def _address(value: Weight | Tensor | Group) -> tuple[Hashable, ...]:
    if isinstance(value, Weight):
        return value.data.data_ptr(), value.format
    if isinstance(value, Tensor):
        return value.data_ptr(), tuple(value.shape)
    return (id(value),)
