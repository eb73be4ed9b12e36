"""What is counted of a checkpoint: a few additions a step, and none a token."""

from bisect import bisect_left
from weakref import ref

from msgspec.structs import replace

from engine.api import STEP_TOKENS_BOUNDS, TOKEN_SECONDS_BOUNDS, ModelStats
from engine.core.plan import BatchPlan, PromptCount
from engine.core.scheduler import Scheduler


class ModelCounts:
    """Of all its residences on a device; the step loop's thread counts.

    begun: prompts that began. num_preempted: sequences that had to begin again.
    """

    def __init__(self) -> None:
        self.begun = PromptCount()
        self._scheduler: ref[Scheduler] | None = None
        self.num_preempted = 0
        self._num_generated = 0
        self._token_seconds = [0] * (len(TOKEN_SECONDS_BOUNDS) + 1)
        self._token_seconds_sum = 0.0
        self._step_tokens = [0] * (len(STEP_TOKENS_BOUNDS) + 1)
        self._step_tokens_sum = 0
        self._last_step_at = 0.0

    def watch(self, scheduler: Scheduler) -> None:
        """The checkpoint has this scheduler from now on, until nobody holds it any more."""
        self._scheduler = ref(scheduler)

    def stepped(self, plan: BatchPlan, num_generated: int, now: float) -> None:
        """A step has ended that drew so many tokens.

        A sequence that goes on was part of the step before too: between the two ends lies what its
        reader waits from one token to the next, other models' steps and pauses included.
        """
        num_tokens = sum(chunk.num_tokens for chunk in plan.chunks)
        self._step_tokens[bisect_left(STEP_TOKENS_BOUNDS, num_tokens)] += 1
        self._step_tokens_sum += num_tokens
        self._num_generated += num_generated
        if going_on := sum(chunk.sequence.is_begun and chunk.samples for chunk in plan.chunks):
            seconds = now - self._last_step_at
            self._token_seconds[bisect_left(TOKEN_SECONDS_BOUNDS, seconds)] += going_on
            self._token_seconds_sum += seconds * going_on
        self._last_step_at = now

    def stats(self) -> ModelStats:
        """All of it, as of now."""
        stats = self._counted()
        scheduler = self._scheduler() if self._scheduler is not None else None
        if scheduler is None:
            return stats
        return replace(
            stats,
            running=scheduler.num_running,
            waiting=len(scheduler) - scheduler.num_running,
            block_size=scheduler.cache.block_size,
            num_blocks=scheduler.cache.num_blocks,
            free_blocks=scheduler.cache.num_free,
        )

    def _counted(self) -> ModelStats:
        return ModelStats(
            prompt_tokens=self.begun.num_tokens,
            cached_tokens=self.begun.num_cached,
            generated_tokens=self._num_generated,
            preemptions=self.num_preempted,
            token_seconds=tuple(self._token_seconds),
            token_seconds_sum=self._token_seconds_sum,
            step_tokens=tuple(self._step_tokens),
            step_tokens_sum=self._step_tokens_sum,
        )
