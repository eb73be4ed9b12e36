"""A recorded forward as a list of kernels with their arguments, run from its beginning to its end."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

import torch
from torch import Tensor

from engine.kernels import registry
from engine.kernels.batch import ForwardBatch
from engine.kernels.group import Group
from engine.kernels.reference_fused import FUSED
from engine.kernels.registry import ANY, Kernel
from engine.kernels.replay.fusion import Extent, fuse
from engine.kernels.replay.steps import Argument, Given, Ref, Step, in_order, step_of
from engine.kernels.trace import Tape
from engine.kernels.weight import Weight

Constants = Mapping[str, Weight | Tensor | Group]
"""Parameters and caches, and the group of ranks, by the label that the recording has of them."""

FROM_BATCH = tuple(field.name for field in fields(ForwardBatch) if field.name != "layout")
"""Tensors that steps read by label; the layout's they find by themselves."""


class Arrivals(Protocol):
    """Weights that are on their way to a device, by their parameters' numbers in the model's order."""

    @property
    def is_complete(self) -> bool:
        """There is nothing left to wait for."""

    def wait_for(self, segment: int) -> None:
        """What is issued from now on begins when that parameter is there."""

    def wait_for_all(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Listing:
    """Steps without what they are given. result: the label of what the last of them makes.

    result_size: of a row of that. num_written: the steps that all rows go through; those behind them
    are for the rows of which a result is wanted.
    """

    steps: Sequence[Step]
    result: str
    result_size: int
    num_written: int

    @property
    def ops(self) -> Counter[str]:
        """How often each op and fused op is called."""
        return Counter(step.op for step in self.steps)


def listing_of(tape: Tape) -> Listing:
    """Made once for a recording, which keeps it."""
    key = "replay"
    if key not in tape.compiled:
        result = tape.calls[-1].output
        assert result is not None, "a forward ends with its logits"
        extents = {
            call.output: Extent(call.shape, call.dtype) for call in tape.calls if call.output
        }
        steps = fuse([step_of(call) for call in tape.calls], extents, result)
        size = tape.calls[-1].shape[-1]
        tape.compiled[key] = Listing(steps, result, size, _num_written(steps))
    listing: Listing = tape.compiled[key]
    return listing


def _num_written(steps: Sequence[Step]) -> int:
    """All steps up to the first that picks rows out, unless a later one has to do with caches."""
    picks = (at for at, step in enumerate(steps) if "logit_rows" in step.reads)
    first = next(picks, len(steps))
    is_last = not any(x.startswith("cache.") for step in steps[first:] for x in step.reads)
    return first if is_last else len(steps)


class Program:
    """A listing over weights and caches where they are.

    references: ops, and how often each runs in the torch reference. numbers: of parameters, by label, as `arrivals` counts them: a step waits for those that none before
    it needed. For one caller at a time.
    """

    def __init__(
        self,
        listing: Listing,
        constants: Constants,
        device: torch.device,
        arrivals: Arrivals | None = None,
        numbers: Mapping[str, int] | None = None,
    ) -> None:
        places = _Places([*FROM_BATCH, *(x for step in listing.steps for x in step.outputs)])
        self._steps = [_bound(step, constants, places, device.type) for step in listing.steps]
        bound = zip(listing.steps, self._steps, strict=True)
        self.references = Counter(step.op for step, each in bound if _is_reference(each.kernel))
        self._result, self._result_size = places.numbers[listing.result], listing.result_size
        self._num_written, self._device = listing.num_written, device
        self._num_values = len(places.numbers)
        _free_early(self._steps, keep=self._result)
        self._arrivals = arrivals
        self._waits = list(_first_needs(listing.steps, numbers or {}))

    @torch.inference_mode()
    def run(self, batch: ForwardBatch) -> Tensor:
        """The result's rows for a batch on the device, in a new tensor. Raises what kernels raise."""
        values: list[Any] = [None] * self._num_values
        for number, name in enumerate(FROM_BATCH):
            values[number] = getattr(batch, name)
        is_wanted = len(batch.logit_rows) > 0
        steps = self._steps if is_wanted else self._steps[: self._num_written]
        if self._arrivals is None or self._arrivals.is_complete:
            for step in steps:
                step(values, batch)
        else:
            self._run_behind(self._arrivals, steps, values, batch)
        if not is_wanted:  # kernels are spared the question what they do with nothing
            return torch.empty(0, self._result_size, dtype=torch.float32, device=self._device)
        return values[self._result]  # type: ignore[no-any-return]  # it is a step's

    def _run_behind(
        self,
        arrivals: Arrivals,
        steps: Sequence["_Bound"],
        values: list[Any],
        batch: ForwardBatch,
    ) -> None:
        for step, numbers in zip(steps, self._waits, strict=False):
            for number in numbers:
                arrivals.wait_for(number)
            step(values, batch)
        arrivals.wait_for_all()


class _Places:
    """The numbers of values while a program runs."""

    def __init__(self, labels: Iterable[str]) -> None:
        self.numbers = {label: number for number, label in enumerate(labels)}


@dataclass(slots=True)
class _Bound:
    """A kernel with its arguments: those that are always the same, and where the others come from.

    values, lists: places among the arguments, and numbers of values. frees: values that nobody needs
    behind it.
    """

    kernel: Kernel
    places: list[Any]
    names: dict[str, Any]
    values: list[tuple[int, int]]
    named: list[tuple[str, int]]
    layout_at: int | None
    outputs: list[int]
    is_many: bool
    frees: list[int]

    def __call__(self, values: list[Any], batch: ForwardBatch) -> None:
        places, names = self.places.copy(), self.names
        for place, number in self.values:
            places[place] = values[number]
        if self.layout_at is not None:
            places[self.layout_at] = batch.layout
        if self.named:
            names = {**names, **{name: values[number] for name, number in self.named}}
        result = self.kernel(*places, **names)
        if self.is_many:
            for number, each in zip(self.outputs, result, strict=True):
                values[number] = each
        elif self.outputs:
            values[self.outputs[0]] = result
        for number in self.frees:
            values[number] = None


def _bound(step: Step, constants: Constants, places: _Places, device: str) -> _Bound:
    given, named = in_order(step)

    def fixed(argument: Argument) -> Any:
        if isinstance(argument, Ref):
            return constants.get(argument.label)
        if isinstance(argument, tuple) and any(isinstance(part, Ref) for part in argument):
            return [fixed(part) for part in argument]
        return None if argument is Given.LAYOUT else argument

    def number_of(argument: Argument) -> int | None:
        is_value = isinstance(argument, Ref) and argument.label not in constants
        return places.numbers[argument.label] if is_value else None

    numbers = [(place, number_of(argument)) for place, argument in enumerate(given)]
    names = [(name, number_of(argument)) for name, argument in named.items()]
    arguments = [fixed(argument) for argument in given]
    return _Bound(
        kernel=_kernel(step.op, arguments, device),
        places=arguments,
        names={name: fixed(argument) for name, argument in named.items()},
        values=[(place, number) for place, number in numbers if number is not None],
        named=[(name, number) for name, number in names if number is not None],
        layout_at=given.index(Given.LAYOUT) if Given.LAYOUT in given else None,
        outputs=[places.numbers[label] for label in step.outputs],
        is_many=step.op in _MANY,
        frees=[],
    )


def _is_reference(kernel: Kernel) -> bool:
    return kernel.__module__.startswith("engine.kernels.reference")


_MANY = frozenset({"add_rms_norm", "linears", "route"})
"""Ops that give more than one value."""


def _kernel(op: str, arguments: Sequence[Any], device: str) -> Kernel:
    """Of an op with a weight, its format's; of a fused one, that of the format that its weights share."""
    weights = [each for each in _flat(arguments) if isinstance(each, Weight)]
    if weights and op not in FUSED:
        return weights[0].kernels[op]
    formats = {weight.format for weight in weights}
    return registry.find(op, formats.pop() if len(formats) == 1 else ANY, device)


def _flat(arguments: Sequence[Any]) -> Iterable[Any]:
    for argument in arguments:
        yield from argument if isinstance(argument, list) else (argument,)


def _free_early(steps: Sequence[_Bound], keep: int) -> None:
    """Lets go of each value behind the last step that reads it: its memory is the next one's."""
    last: dict[int, int] = {}
    for at, step in enumerate(steps):
        used = [number for _, number in (*step.values, *step.named)]
        last.update(dict.fromkeys([*used, *step.outputs], at))
    for number, at in last.items():
        if number != keep:
            steps[at].frees.append(number)


def _first_needs(steps: Sequence[Step], numbers: Mapping[str, int]) -> Iterable[list[int]]:
    """For each step, the parameters that none before it needed."""
    seen: set[int] = set()
    for step in steps:
        needed = {numbers[label] for label in step.reads if label in numbers} - seen
        seen |= needed
        yield sorted(needed)
