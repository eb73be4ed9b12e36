"""Steps of a program joined where one operation does the work of several."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import TypeGuard

from engine.kernels.cpu.lowering import NativeStep, Step

MAX_TOGETHER = 5
"""So many products of one x are made by one operation."""


def fuse(steps: Sequence[Step]) -> list[Step]:
    """Fewer steps with the same results."""
    return _together(_with_addend(steps))


def _with_addend(steps: Sequence[Step]) -> list[Step]:
    """A product that is only added to something, and the addition: one operation writes the sum."""
    uses = Counter(label for step in steps for label in step.reads)
    fused: list[Step] = []
    for step in steps:
        last = fused[-1] if fused else None
        if _is_plain_product(last) and _is(step, "add") and _adds(step, last.output, uses):
            (addend,) = (label for label in step.inputs if label != last.output)
            fused[-1] = replace(last, inputs=(*last.inputs, addend), output=step.output)
        else:
            fused.append(step)
    return fused


def _adds(step: NativeStep, product: str | None, uses: Counter[str]) -> bool:
    """Whether a step adds a product, which nothing else wants, to another value of as many rows."""
    others = [label for label in step.inputs if label != product]
    is_value = len(others) == 1 and (others[0] or "").startswith("%")
    return product is not None and uses[product] == 1 and is_value


def _is_plain_product(step: Step | None) -> TypeGuard[NativeStep]:
    """Without an addend yet."""
    return _is(step, "linear") and len(step.inputs) == 3


def _together(steps: Sequence[Step]) -> list[Step]:
    """Products of one x that follow each other: their threads meet once, x is quantised once."""
    fused: list[Step] = []
    for key, group in groupby(steps, _shared_input):
        members = list(group)
        for start in range(0, len(members), MAX_TOGETHER if key else len(members)):
            some = members[start : start + MAX_TOGETHER] if key else members
            fused += some if len(some) == 1 or not key else [_joined(some)]
    return fused


def _shared_input(step: Step) -> str | None:
    """The x of a plain product."""
    return step.inputs[0] if _is_plain_product(step) else None


def _joined(steps: Sequence[Step]) -> NativeStep:
    products = [step for step in steps if isinstance(step, NativeStep)]
    inputs = [products[0].inputs[0]]
    for step in products:
        inputs += [*step.inputs[1:], step.output]
    writes = tuple(step.output for step in products if step.output)
    return NativeStep("linears", tuple(inputs), None, (), writes)


def _is(step: Step | None, operation: str) -> TypeGuard[NativeStep]:
    return isinstance(step, NativeStep) and step.operation == operation
