"""How recurrences meet a batch: each sequence by itself, from its own state to its own state."""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from engine.kernels.batch import BatchLayout

Scan = Callable[..., tuple[Tensor, Tensor]]
"""(state, *rows) to (outputs, state).

Of a step: states (B, ...) and one row of each of B sequences. Of a scan: the state of one sequence,
and its rows.
"""


def over_sequences(
    state: Tensor, layout: BatchLayout, rows: tuple[Tensor, ...], *, step: Scan, scan: Scan
) -> Tensor:
    """Outputs of all rows, (T, ...); `state` is updated in place.

    rows: (T, ...) each. Sequences with one row take `step` together, the others `scan` one by one.
    """
    before = states_before(state, layout)
    after = torch.empty_like(before)
    starts = layout.query_starts.tolist()
    counts = [end - start for start, end in pairwise(starts)]
    result: Tensor | None = None

    def put(places: Tensor | slice, outputs: Tensor) -> None:
        nonlocal result
        if result is None:
            result = outputs.new_empty(starts[-1], *outputs.shape[1:])
        result[places] = outputs

    single = [index for index, count in enumerate(counts) if count == 1]
    if single:
        places = layout.query_starts[:-1][single]
        outputs, after[single] = step(before[single], *(each[places] for each in rows))
        put(places, outputs)
    for index, count in enumerate(counts):
        if count != 1:
            own = slice(starts[index], starts[index + 1])
            outputs, after[index] = scan(before[index], *(each[own] for each in rows))
            put(own, outputs)
    writes = layout.state_writes
    if int(writes.min()) < 0:  # sequences that only fill a batch up
        after, writes = after[writes >= 0], writes[writes >= 0]
    state[writes] = after
    assert result is not None, "a batch has rows"
    return result


def states_before(state: Tensor, layout: BatchLayout) -> Tensor:
    """Of each sequence, (B, ...): a copy, and zero where it begins."""
    reads = layout.state_reads
    before = state[reads.clamp(min=0)]
    before[reads < 0] = 0  # assigned, since what is left in a slot may not be finite
    return before
