"""A loaded model with everything that runs it."""

import time
from collections.abc import Sequence as Many

import structlog

from engine.api import Failure
from engine.cache.manager import CacheManager
from engine.cache.views import CacheView
from engine.core.failures import failure_of
from engine.core.pacing import Pacing
from engine.core.plan import BatchPlan
from engine.core.runner import LanguageModel, Result, Runner
from engine.core.scheduler import MAX_SEQUENCES, Scheduler
from engine.core.sequence import Sequence
from engine.models.card import MAX_LOGIT_ROWS, MAX_STEP_ROWS
from engine.wire import Output

BLOCK_SIZE = 16

log = structlog.get_logger()


class Resident:
    """Sequences of one model, advanced a step at a time.

    num_blocks, num_slots: what the caches have room for, as of `CacheManager`.
    """

    def __init__(
        self,
        model: LanguageModel,
        caches: Many[CacheView],
        num_blocks: int,
        num_slots: int = 0,
    ) -> None:
        self.vocab_size = model.vocab_size
        self.scheduler = Scheduler(
            CacheManager(num_blocks, BLOCK_SIZE, num_slots),
            max_scored_rows=MAX_LOGIT_ROWS - MAX_SEQUENCES,  # each running one may sample besides
            length_switch=model.length_switch,
        )
        self._runner = Runner(model, caches, BLOCK_SIZE)
        self._pacing = Pacing(BLOCK_SIZE, MAX_STEP_ROWS)

    @property
    def is_idle(self) -> bool:
        return self.scheduler.is_idle

    def step(self, prefill_seconds: float) -> list[tuple[Sequence, Output]]:
        """Computes one step and gives what it added to whom.

        A step that raises ends the sequences that took part in it, and no others.
        """
        plan = self.scheduler.schedule(self._pacing.token_budget(prefill_seconds))
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
        self._pacing.measured(plan.num_prefill_tokens, time.perf_counter() - started)
        for sequence, result in results.items():
            if result.failure:
                self.scheduler.remove(sequence)
        choices = {s: result.choice.token_id for s, result in results.items() if result.choice}
        self.scheduler.complete(plan, choices)
        return [(sequence, _output(sequence, result)) for sequence, result in results.items()]

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


def _output(sequence: Sequence, result: Result) -> Output:
    choice = result.choice
    return Output(
        sequence=sequence.number,
        token_ids=[choice.token_id] if choice else [],
        logprobs=[choice.logprob] if choice and choice.logprob else [],
        prompt_logprobs=result.scores,
        finish_reason=sequence.finish_reason,
        cached_tokens=sequence.num_cached or 0,
        failure=result.failure,
    )
