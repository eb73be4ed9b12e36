"""Ragged batches for scans in Triton, and their results against the reference."""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from engine.kernels.batch import BatchLayout
from tests.engine.batches import layout_of

NUM_SLOTS = 9


class Ragged(NamedTuple):
    """Sequences of `counts` rows each, from and to slots of states."""

    counts: list[int]
    slots: list[tuple[int, int]]

    @property
    def num_rows(self) -> int:
        return sum(self.counts)

    def layout(self, *, tells_longest: bool = True) -> BatchLayout:
        lens = [max(count, 1) for count in self.counts]
        tables = torch.zeros(len(lens), 1 + max(lens) // 16, dtype=torch.int64)
        layout = layout_of(self.counts, lens, tables, 16, self.slots)
        return replace(layout, longest_query=max(self.counts) if tells_longest else 0)

    @property
    def whole(self) -> "Ragged":
        """Without sequences of no rows and without -1 for a slot: as the reference wants it."""
        left = [
            (count, (read, write if write >= 0 else NUM_SLOTS + index))
            for index, (count, (read, write)) in enumerate(
                zip(self.counts, self.slots, strict=True)
            )
            if count
        ]
        return Ragged([count for count, _ in left], [slots for _, slots in left])


DECODES = Ragged([1, 1, 1, 1, 1], [(3, 3), (-1, 0), (8, 4), (8, 1), (-1, -1)])
"""One that stays in its slot, one that begins, two from one slot, one that fills up the batch."""

MIXED = Ragged(
    [3, 1, 0, 18, 1, 2, 3], [(-1, 0), (2, 2), (-1, -1), (5, 5), (7, 6), (7, 8), (-1, -1)]
)
"""Prefill chunks among decodes; a sequence without rows, and one that is kept nowhere."""

ALONE = Ragged([19], [(4, 4)])

SEEDS = pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 12))]
)
"""Of drawn batches."""

BATCHES = {"decodes": DECODES, "mixed": MIXED, "alone": ALONE}


def drawn(seed: int, *, most_rows: int = 24, most_sequences: int = 6) -> Ragged:
    """Any counts, none too, and any slots such as a scheduler gives."""
    generator = torch.Generator().manual_seed(seed)

    def below(number: int) -> int:
        return int(torch.randint(number, [], generator=generator))

    number = 1 + below(most_sequences)
    counts = [(0, 1, 1, 1 + below(5), 1 + below(most_rows))[below(5)] for _ in range(number)]
    counts[below(number)] = 1 + below(most_rows)
    written = torch.randperm(NUM_SLOTS, generator=generator).tolist()
    free = written[number:]  # read by any number of sequences
    slots = []
    for write in written[:number]:
        read = (-1, write, free[below(len(free))])[below(3)]
        slots.append((read, -1 if below(6) == 0 and read != write else write))
    return Ragged(counts, slots)


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def states(ragged: Ragged, *shape: int, seed: int = 99) -> Tensor:
    """Slots that are NaN where no sequence reads."""
    state = torch.full([NUM_SLOTS, *shape], torch.nan)
    for read, _ in ragged.slots:
        if read >= 0:
            state[read] = normal(seed + read, *shape)
    return state


Scan = Callable[[Tensor, BatchLayout], Tensor]


def check(
    ragged: Ragged,
    shape: tuple[int, ...],
    kernel: Scan,
    reference: Scan,
    *,
    tolerance: float = 1e-5,
    tells_longest: bool = True,
) -> None:
    """That outputs and all slots are as the reference leaves them; what is not written is as it was.

    kernel, reference: of the states and a layout.
    """
    state = states(ragged, *shape)
    spare = torch.full([len(ragged.counts), *shape], torch.nan)
    expected_state = torch.cat([state, spare])
    expected = reference(expected_state, ragged.whole.layout())
    found = kernel(state, ragged.layout(tells_longest=tells_longest))

    assert found.dtype == expected.dtype
    assert found.isfinite().all()
    near = {"rtol": tolerance, "atol": tolerance}
    coarse = {"rtol": 2**-7, "atol": 2**-7} if found.dtype == torch.bfloat16 else near
    torch.testing.assert_close(found, expected, **coarse)
    torch.testing.assert_close(state, expected_state[:NUM_SLOTS], equal_nan=True, **near)


def columns_of(*parts: Tensor) -> list[Tensor]:
    """The same values as columns of one wider matrix, as a projection gives them."""
    wide = torch.cat([part.flatten(1) for part in parts], dim=1)
    widths = [part[0].numel() for part in parts]
    split = wide.split(widths, dim=1)
    return [
        each.unflatten(1, part.shape[1:]) if part.dim() > 2 else each
        for each, part in zip(split, parts, strict=True)
    ]
