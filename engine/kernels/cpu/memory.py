"""The memory of a program's values: planned once for the largest batch, and seen as tensors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.kernels.cpu.lowering import NativeStep, TorchStep
from engine.kernels.cpu.planning import Lifetime, place
from engine.kernels.cpu.values import Extent


@dataclass(frozen=True, slots=True)
class Values:
    """What is computed with: extents of all values and of the batch's tensors, by label.

    views: labels of values that are other values' memory.
    """

    extents: Mapping[str, Extent]
    views: Mapping[str, str]


def plan_memory(
    steps: Sequence[NativeStep | TorchStep], values: Values, max_tokens: int, max_logits: int
) -> tuple[dict[str, int], int]:
    """A place for every value that steps make, while it is needed, and the bytes of it all.

    max_tokens, max_logits: of the largest batch.
    """
    lives = _lives(steps, values.extents, values.views)
    lifetimes = [
        Lifetime(first, last, values.extents[label].num_bytes(max_tokens, max_logits))
        for label, (first, last) in lives.items()
    ]
    places, total = place(lifetimes)
    return dict(zip(lives, places, strict=True)), total


class Memory:
    """An arena with a place for every value, as `plan_memory` has them."""

    def __init__(
        self,
        steps: Sequence[NativeStep | TorchStep],
        values: Values,
        max_tokens: int,
        max_logits: int,
    ) -> None:
        self.extents, self._views = values.extents, values.views
        self._places, total = plan_memory(steps, values, max_tokens, max_logits)
        self.arena = torch.zeros(total, dtype=torch.uint8)

    def __contains__(self, label: str) -> bool:
        return self._views.get(label, label) in self._places

    def place(self, label: str) -> int:
        """Of a value, in bytes from the arena's start."""
        return self._places[self._views.get(label, label)]

    def tensor(self, label: str, num_tokens: int, num_logits: int) -> Tensor:
        """A value as torch has it, in a step of so many rows and logits."""
        extent, start = self.extents[label], self.place(label)
        flat = self.arena[start : start + extent.num_bytes(num_tokens, num_logits)]
        rows = extent.count(num_tokens, num_logits)
        return flat.view(extent.dtype).view(rows, *extent.shape)


def _lives(
    steps: Sequence[NativeStep | TorchStep],
    extents: Mapping[str, Extent],
    views: Mapping[str, str],
) -> dict[str, tuple[int, int]]:
    """By value that steps make: the first step that writes it, and the last that touches it."""
    lives: dict[str, tuple[int, int]] = {}
    for index, step in enumerate(steps):
        for label in (*step.makes, *step.reads):
            value = views.get(label, label)
            if value in lives:
                lives[value] = lives[value][0], index
            elif label in step.makes and value in extents:
                lives[value] = index, index
    last = steps[-1].makes[-1]  # the result outlives the run
    lives[last] = lives[last][0], len(steps)
    return lives
