"""A loaded model with everything that runs it."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import structlog

from engine.api import Failure, Spent
from engine.cache.caches import Caches
from engine.core.counts import ModelCounts
from engine.core.device_runner import DeviceRunner, accelerator_of, prepare
from engine.core.failures import failure_of, must_end
from engine.core.plan import BatchPlan
from engine.core.runner import Begun, Closed, LanguageModel, Result, Runner
from engine.core.scheduler import Scheduler
from engine.core.sequence import Sequence
from engine.core.sequences import Sequences
from engine.core.vectors import VectorRunner
from engine.wire import Output

BLOCK_SIZE = 16

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Step:
    """One that was begun at some time."""

    plan: BatchPlan
    begun: Begun
    started: float


class Resident:
    """Sequences of one model, advanced a step at a time.

    sequences: those that it had before it was paused. They are computed anew unless the caches are
    the ones that they had. speculate: tokens that new ones guess ahead at most. counts: what the
    checkpoint's earlier residences counted. ahead: on an accelerator, whether a step may be begun while
    the one before it is computed.
    """

    def __init__(
        self,
        model: LanguageModel,
        caches: Caches,
        sequences: Sequences | None = None,
        *,
        speculate: int = 0,
        counts: ModelCounts | None = None,
        ahead: bool = True,
    ) -> None:
        self.caches = caches
        self.sequences = sequences or Sequences(model, caches.manager, speculate, counts)
        if self.scheduler.cache is not caches.manager:
            self.scheduler.begin_anew(caches.manager)
        self._model, self._ahead = model, ahead
        self._runner = _runner(model, caches)
        self._under_way: _Step | None = None
        self._last_ended = 0.0

    @property
    def scheduler(self) -> Scheduler:
        return self.sequences.scheduler

    @property
    def vocab_size(self) -> int:
        return self.sequences.vocab_size

    @property
    def is_idle(self) -> bool:
        return self.scheduler.is_idle and self._under_way is None

    def step(self, prefill_seconds: float, *, ahead: bool = False) -> list[tuple[Sequence, Output]]:
        """Computes one step and gives what it added to whom.

        A step that raises ends the sequences that took part in it, and no others, unless the device is
        lost: then this raises. ahead: nobody else
        computes anything before this is called again, so the next step may be begun meanwhile.
        """
        outputs: list[tuple[Sequence, Output]] = []
        budget = self.sequences.pacing.token_budget(prefill_seconds)
        if self._under_way is None:
            outputs += self._begin(self.scheduler.schedule(budget))
        step, self._under_way = self._under_way, None
        if step is None:
            return outputs
        if ahead and self._ahead and step.begun.is_open:
            plan = self.scheduler.schedule_ahead(step.plan, budget)
            ended = [] if plan is None else self._begin(plan)
            return outputs + self._end(step) + ended
        return outputs + self._end(step)

    def settle(self) -> list[tuple[Sequence, Output]]:
        """Waits for a step that is under way; what it added to whom."""
        step, self._under_way = self._under_way, None
        return [] if step is None else self._end(step)

    def prepare(self) -> bool:
        """Makes use of an idle moment, of some 0.1 s; whether there was anything to do."""
        return self.is_idle and prepare(self._model)

    def _begin(self, plan: BatchPlan) -> list[tuple[Sequence, Output]]:
        """Gives those whom no cache can hold."""
        if plan.chunks:
            started = time.perf_counter()
            self._under_way = _Step(plan, self._begun(plan), started)
        return [(sequence, _ended(sequence, STARVED)) for sequence in plan.starved]

    def _begun(self, plan: BatchPlan) -> Begun:
        try:
            return self._runner.begin(plan)
        except Exception as error:  # noqa: BLE001  # raised in its turn, behind the step before it
            return Closed(partial(_raise, error))

    def _end(self, step: _Step) -> list[tuple[Sequence, Output]]:
        try:
            results = step.begun.results()
        except Exception as error:  # whatever a model raises must not end the loop
            if must_end(error):
                raise
            log.exception("step_failed", sequences=len(step.plan.chunks))
            return self._fail(step.plan, failure_of(error))
        ended = time.perf_counter()
        started = max(step.started, self._last_ended)
        self._last_ended = ended
        self.sequences.measured(step.plan, ended - started)
        outputs = self._completed(self._still(step.plan), results, started, ended)
        return [(sequence, output) for sequence, output in outputs if _says_something(output)]

    def _still(self, plan: BatchPlan) -> BatchPlan:
        """Without those who have ended since it was made."""
        return replace(
            plan, chunks=tuple(c for c in plan.chunks if self.scheduler.runs(c.sequence))
        )

    def _completed(
        self, plan: BatchPlan, found: Mapping[Sequence, Result], started: float, ended: float
    ) -> list[tuple[Sequence, Output]]:
        results = {chunk.sequence: found[chunk.sequence] for chunk in plan.chunks}
        for sequence, result in results.items():
            if result.failure:
                self.scheduler.remove(sequence)
        drawn = {s: [c.token_id for c in result.choices] for s, result in results.items()}
        taken = self.scheduler.complete(plan, drawn)
        self.sequences.counts.stepped(plan, sum(taken.values()), ended)
        return [
            (s, _output(s, result, taken.get(s, 0), started, ended))
            for s, result in results.items()
        ]

    def _fail(self, plan: BatchPlan, failure: Failure) -> list[tuple[Sequence, Output]]:
        failed = [chunk.sequence for chunk in self._still(plan).chunks]
        for sequence in failed:
            self.scheduler.remove(sequence)
        return [(sequence, _ended(sequence, failure)) for sequence in failed]


def _runner(model: LanguageModel, caches: Caches) -> Runner | VectorRunner:
    accelerator, size = accelerator_of(model), caches.manager.block_size
    if not model.traits.generates:
        return VectorRunner(model, caches.views, size, accelerator)
    if accelerator is None:
        return Runner(model, caches.views, size)
    return DeviceRunner(model, caches.views, size, accelerator)


def _raise(error: Exception) -> dict[Sequence, Result]:
    raise error


STARVED = Failure("out_of_memory", "the sequence outgrew the model's cache")


def _ended(sequence: Sequence, failure: Failure) -> Output:
    return Output(sequence.number, [], [], [], failure=failure)


def _says_something(output: Output) -> bool:
    return bool(
        output.token_ids or output.prompt_logprobs or output.finish_reason or output.failure
    )


def _output(
    sequence: Sequence, result: Result, num_taken: int, started: float, ended: float
) -> Output:
    """started, ended: of the step."""
    choices = result.choices[:num_taken]
    num_accepted, num_rejected = sequence.tried
    return Output(
        sequence=sequence.number,
        token_ids=[choice.token_id for choice in choices],
        logprobs=[choice.logprob for choice in choices if choice.logprob],
        prompt_logprobs=result.scores,
        finish_reason=sequence.finish_reason,
        cached_tokens=sequence.num_cached or 0,
        failure=result.failure,
        vector=result.vector,
        accepted_tokens=num_accepted,
        rejected_tokens=num_rejected,
        spent=None if sequence.is_begun else _begin(sequence, num_taken, started, ended),
    )


def _begin(sequence: Sequence, num_taken: int, started: float, ended: float) -> Spent | None:
    """How long the sequence waited and was read, if this step was the last that read its prompt."""
    sequence.started_at = sequence.started_at or started
    sequence.is_begun = num_taken > 0 or sequence.finish_reason is not None
    if not sequence.is_begun:
        return None
    arrived_at = sequence.arrived_at or sequence.started_at
    return Spent(sequence.started_at - arrived_at, ended - sequence.started_at)
