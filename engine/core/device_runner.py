"""Carries out plans on an accelerator: steps are begun, and their results asked for later."""

from collections.abc import Sequence as Many
from concurrent.futures import Future
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.cache.views import CacheView
from engine.core.ahead import is_open
from engine.core.device_graphs import graphs_of
from engine.core.device_model import DeviceModel
from engine.core.plan import BatchPlan
from engine.core.runner import Begun, LanguageModel, Result, Runner, draw_of, results_of
from engine.core.sequence import Sequence
from engine.core.staging import Returning
from engine.devices import Accelerator, Event, Stream
from engine.sampling import device
from engine.sampling.adjust import adjust
from engine.sampling.draw import Choice, Draw
from engine.sampling.masks import Masks
from engine.sampling.sampler import NO_CHOICE, UNSOUND, sample

_FAILURES = {device.UNSOUND: UNSOUND, device.NO_CHOICE: NO_CHOICE}


class DeviceRunner(Runner):
    """As `Runner`. Two steps may be under way, the first of them open.

    An open step leaves what it drew in `Graphs.drawn`, where the next one finds it. Others are closed:
    all steps of a model that is no `DeviceModel` itself, as one that several ranks compute, are.
    """

    def __init__(
        self,
        model: LanguageModel,
        caches: Many[CacheView],
        block_size: int,
        accelerator: Accelerator,
    ) -> None:
        Runner.__init__(self, model, caches, block_size)
        self._stream, self._graphs = accelerator.compute_stream(), graphs_of(accelerator)
        self._may_be_open = isinstance(model, DeviceModel)

    @torch.inference_mode()
    def begin(self, plan: BatchPlan) -> Begun:
        """A plan of at least one chunk. Raises what the model raises before the device has begun."""
        with self._stream:
            logits, masks = self._forward(plan)
            if self._may_be_open and is_open(plan):
                return _Open(plan, self._drawn(plan, logits))
            return _Closed(plan, logits, masks, self._stream, self._stream.record())

    def run(self, plan: BatchPlan) -> dict[Sequence, Result]:
        return self.begin(plan).results()

    def _drawn(self, plan: BatchPlan, logits: Tensor) -> Returning:
        draws = [draw_of(chunk, 0, {}) for chunk in plan.chunks if chunk.samples]
        drawn = self._graphs.drawn[: len(draws)]
        if draws:
            _draw_into(drawn, logits, draws)
        return self._graphs.returns.fetch(drawn)


def _draw_into(drawn: Tensor, logits: Tensor, draws: list[Draw]) -> None:
    adjusted = adjust(logits, draws)
    if device.takes(adjusted):
        parameters = device.prepare(draws).to(drawn.device)
        device.draw_into(adjusted, parameters, drawn, None if adjusted is logits else logits)
    else:
        drawn.copy_(torch.tensor([_number(each) for each in sample(logits, draws)]))


def _number(choice: object) -> int:
    if isinstance(choice, Choice):
        return choice.token_id
    return device.UNSOUND if choice == UNSOUND else device.NO_CHOICE


@dataclass(frozen=True, slots=True)
class _Open:
    plan: BatchPlan
    drawn: Returning
    is_open: bool = True

    def results(self) -> dict[Sequence, Result]:
        token_ids = iter(self.drawn.values())
        return {
            chunk.sequence: _result(next(token_ids)) if chunk.samples else Result()
            for chunk in self.plan.chunks
        }


def _result(token_id: int) -> Result:
    failure = _FAILURES.get(token_id)
    return Result(failure=failure) if failure else Result(choices=[Choice(token_id)])


@dataclass(frozen=True, slots=True)
class _Closed:
    plan: BatchPlan
    logits: Tensor
    masks: "Future[Masks] | None"
    stream: Stream
    event: Event
    is_open: bool = False

    @torch.inference_mode()
    def results(self) -> dict[Sequence, Result]:
        with self.stream:
            found = results_of(self.plan, self.logits, self.masks.result() if self.masks else {})
            self.event.wait()  # also where nothing was read
            return found


def accelerator_of(model: LanguageModel) -> Accelerator | None:
    """Where a model's logits come from, if not from a CPU."""
    own = getattr(model, "model", model)  # of one that several ranks compute, this rank's part
    found = next((each for each in (model, own) if isinstance(each, DeviceModel)), None)
    return None if found is None else found.accelerator


def prepare(model: LanguageModel) -> bool:
    """Makes use of an idle moment: as `DeviceModel.prepare`."""
    return isinstance(model, DeviceModel) and model.prepare()
