"""A loaded model with everything that runs it."""

import time

import structlog

from engine.api import Failure, Spent
from engine.cache.caches import Caches
from engine.core.counts import ModelCounts
from engine.core.failures import failure_of
from engine.core.plan import BatchPlan
from engine.core.runner import LanguageModel, Result, Runner
from engine.core.scheduler import Scheduler
from engine.core.sequence import Sequence
from engine.core.sequences import Sequences
from engine.core.vectors import VectorRunner
from engine.wire import Output

BLOCK_SIZE = 16

log = structlog.get_logger()


class Resident:
    """Sequences of one model, advanced a step at a time.

    sequences: those that it had before it was paused. They are computed anew unless the caches are
    the ones that they had. speculate: tokens that new ones guess ahead at most. counts: what the
    checkpoint's earlier residences counted.
    """

    def __init__(
        self,
        model: LanguageModel,
        caches: Caches,
        sequences: Sequences | None = None,
        *,
        speculate: int = 0,
        counts: ModelCounts | None = None,
    ) -> None:
        self.caches = caches
        self.sequences = sequences or Sequences(model, caches.manager, speculate, counts)
        if self.scheduler.cache is not caches.manager:
            self.scheduler.begin_anew(caches.manager)
        runner = Runner if model.traits.generates else VectorRunner
        self._runner = runner(model, caches.views, caches.manager.block_size)

    @property
    def scheduler(self) -> Scheduler:
        return self.sequences.scheduler

    @property
    def vocab_size(self) -> int:
        return self.sequences.vocab_size

    @property
    def is_idle(self) -> bool:
        return self.scheduler.is_idle

    def step(self, prefill_seconds: float) -> list[tuple[Sequence, Output]]:
        """Computes one step and gives what it added to whom.

        A step that raises ends the sequences that took part in it, and no others.
        """
        plan = self.scheduler.schedule(self.sequences.pacing.token_budget(prefill_seconds))
        outputs = [(sequence, _ended(sequence, STARVED)) for sequence in plan.starved]
        if plan.chunks:
            outputs += self._compute(plan)
        return [(sequence, output) for sequence, output in outputs if _says_something(output)]

    def _compute(self, plan: BatchPlan) -> list[tuple[Sequence, Output]]:
        started = time.perf_counter()
        try:
            results = self._runner.run(plan)
        except Exception as error:  # whatever a model raises must not end the loop
            log.exception("step_failed", sequences=len(plan.chunks))
            return self._fail(plan, failure_of(error))
        ended = time.perf_counter()
        self.sequences.pacing.measured(plan.num_prefill_tokens, ended - started)
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
        for chunk in plan.chunks:
            self.scheduler.remove(chunk.sequence)
        return [(chunk.sequence, _ended(chunk.sequence, failure)) for chunk in plan.chunks]


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
