"""The memory of a program's values: planned once for the largest batch, and seen as tensors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from engine.kernels.cpu.lowering import NativeStep, TorchStep
from engine.kernels.cpu.planning import Lifetime, place
from engine.kernels.cpu.values import Extent
from engine.kernels.pages import zero_pages


@dataclass(frozen=True, slots=True)
class Values:
    """What is computed with: extents of all values and of the batch's tensors, by label.

    views: labels of values that are other values' memory.
    """

    extents: Mapping[str, Extent]
    views: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """A place for every value that steps make, in bytes, and the bytes of it all."""

    values: Values
    places: Mapping[str, int]
    num_bytes: int

    @property
    def extents(self) -> Mapping[str, Extent]:
        return self.values.extents

    def __contains__(self, label: str) -> bool:
        return self.values.views.get(label, label) in self.places

    def place(self, label: str) -> int:
        """Of a value, in bytes from the start."""
        return self.places[self.values.views.get(label, label)]


def plan_memory(
    steps: Sequence[NativeStep | TorchStep], values: Values, max_tokens: int, max_logits: int
) -> MemoryPlan:
    """Each value has its place while it is needed. max_tokens, max_logits: of the largest batch."""
    lives = _lives(steps, values.extents, values.views)
    lifetimes = [
        Lifetime(first, last, values.extents[label].num_bytes(max_tokens, max_logits))
        for label, (first, last) in lives.items()
    ]
    places, total = place(lifetimes)
    return MemoryPlan(values, dict(zip(lives, places, strict=True)), total)


class Memory:
    """An arena with a place for every value of a plan."""

    def __init__(self, plan: MemoryPlan) -> None:
        self._plan = plan
        self.arena = zero_pages(plan.num_bytes)

    def tensor(self, label: str, num_tokens: int, num_logits: int) -> Tensor:
        """A value as torch has it, in a step of so many rows and logits."""
        extent, start = self._plan.extents[label], self._plan.place(label)
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
