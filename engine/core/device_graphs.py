"""Decode steps of all models on one accelerator at fixed addresses, recorded and replayed."""

import threading
from collections.abc import Callable, Hashable
from queue import SimpleQueue

import structlog
import torch
from torch import Tensor

from engine.core.staging import Returns, Staging
from engine.devices import Accelerator, Graph
from engine.kernels.batch import BatchLayout, ForwardBatch
from engine.kernels.replay.graphs import GraphPolicy, Key, Shape
from engine.models.limits import DEVICE

log = structlog.get_logger()

Run = Callable[[ForwardBatch], Tensor]
"""A forward of a batch on the device."""

_FILLED = (0, 0, 1, -1, 0, -1, -1)
"""What a row that is none has of `_COLUMNS`: it is written nowhere, and its sequence has no tokens."""


class Seat:
    """Where the decode batches of one shape lie, and their graph once there is one."""

    def __init__(self, shape: Shape, block_size: int, device: torch.device) -> None:
        self.shape = shape
        rows, width = shape.rows, shape.num_blocks
        self.flat = torch.zeros(rows * (len(_FILLED) + width), dtype=torch.int64, device=device)
        columns, tables = _parts(self.flat, shape)
        token_ids, positions, lengths, slots, context_lens, reads, writes = columns.unbind()
        layout = BatchLayout(
            torch.arange(rows + 1, device=device),
            context_lens,
            tables,
            slots,
            reads,
            writes,
            block_size,
            longest_query=1,
            longest_context=width * block_size,
        )
        all_rows = torch.arange(rows, device=device)
        self.batch = ForwardBatch(token_ids, positions, lengths, all_rows, layout)
        self.graph: Graph | None = None
        self._result: Tensor | None = None

    def take(self, batch: ForwardBatch, staging: Staging) -> None:
        """A batch in host memory, of no more rows and blocks than there is room for."""

        def fill(host: Tensor) -> None:
            columns, tables = _parts(host, self.shape)
            layout, count = batch.layout, len(batch.token_ids)
            columns[:, count:] = torch.tensor(_FILLED)[:, None]
            given = (
                *(batch.token_ids, batch.positions, batch.lengths),
                *(layout.slots, layout.context_lens, layout.state_reads, layout.state_writes),
            )
            torch.stack(given, out=columns[:, :count])
            tables.zero_()
            tables[:count, : layout.block_tables.shape[1]] = layout.block_tables

        staging.send(self.flat, fill)

    def run(self, forward: Run) -> Tensor:
        self._result = forward(self.batch)
        return self._result

    def capture(self, forward: Run, accelerator: Accelerator) -> int:
        """Records a run, without carrying it out; the graph's bytes. Raises what a device may say."""

        def run() -> None:
            self._result = forward(self.batch)

        self.graph = accelerator.capture(run)
        return self.graph.nbytes

    def replay(self) -> Tensor:
        """The result lies where it lay, and holds until the next."""
        assert self.graph is not None, "it was captured"
        self.graph.replay()
        assert self._result is not None, "the capture left it"
        return self._result


class Graphs:
    """Of all models on an accelerator. For one caller at a time: the thread that computes.

    drawn: (DEVICE.logit_rows,) int64, the tokens that were drawn last, for the batch after. staging,
    returns: what goes there beside weights and caches, and what comes back. turn: of whoever issues a
    step, since parts of models that another rank leads are computed on threads of their own.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator, self.staging = accelerator, Staging(accelerator)
        self.turn = threading.Lock()
        self.returns = Returns(accelerator, DEVICE.logit_rows)
        with accelerator.compute_stream():
            self.drawn = torch.zeros(
                DEVICE.logit_rows, dtype=torch.int64, device=accelerator.device
            )
        self._abandoned: SimpleQueue[Hashable] = SimpleQueue()
        self._policy = GraphPolicy()
        self._seats: dict[Key, Seat] = {}
        self._has_said = False

    @property
    def num_graphs(self) -> int:
        return sum(seat.graph is not None for seat in self._seats.values())

    def run(self, owner: Hashable, shape: Shape, batch: ForwardBatch, forward: Run) -> Tensor:
        """The result for a decode batch in host memory, filled up to a shape. Holds until the next."""
        self._forget_abandoned()
        key = Key(owner, shape)
        seat = self._seats.get(key)
        if seat is None:
            seat = Seat(shape, batch.layout.block_size, self.accelerator.device)
            self._seats[key] = seat
        seat.take(batch, self.staging)
        way = self._policy.use(key)
        if way == "capture" and not self._capture(key, seat, forward):
            way = "run"
        return seat.run(forward) if way == "run" else seat.replay()

    def prepare(self, owner: Hashable, forward: Run) -> bool:
        """Captures a shape that has come up. Whether there was any."""
        self._forget_abandoned()
        shape = self._policy.wanted(owner)
        if shape is not None:
            key = Key(owner, shape)
            self._capture(key, self._seats[key], forward)
        return shape is not None

    def abandon(self, owner: Hashable) -> None:
        """Its model is not where it was: its graphs go with the next step. Any thread may call."""
        self._abandoned.put(owner)

    def _forget_abandoned(self) -> None:
        while not self._abandoned.empty():
            owner = self._abandoned.get()
            self._policy.forget(owner)
            self._seats = {key: seat for key, seat in self._seats.items() if key.owner != owner}

    def _capture(self, key: Key, seat: Seat, forward: Run) -> bool:
        try:
            num_bytes = seat.capture(forward, self.accelerator)
        except Exception as error:
            if self.accelerator.is_sticky(error):
                raise
            self._policy.failed(key)
            if not self._has_said:
                log.warning("graph_not_captured", rows=key.shape.rows, error=str(error)[:200])
                self._has_said = True
            return False
        for gone in self._policy.captured(key, num_bytes):
            self._seats.pop(gone, None)
        return True


_graphs: dict[int, Graphs] = {}


def graphs_of(accelerator: Accelerator) -> Graphs:
    """The accelerator's own, which models on it share."""
    found = _graphs.get(id(accelerator))
    # kept, it keeps the accelerator, and so its id
    return found or _graphs.setdefault(id(accelerator), Graphs(accelerator))


def _parts(flat: Tensor, shape: Shape) -> tuple[Tensor, Tensor]:
    """Columns of a batch's rows, (7, rows), and block tables, (rows, num_blocks)."""
    split = len(_FILLED) * shape.rows
    return flat[:split].view(-1, shape.rows), flat[split:].view(shape.rows, -1)
