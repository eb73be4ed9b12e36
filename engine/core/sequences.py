"""What a model's sequences have, apart from its weights and their caches' tensors."""

from engine.cache.manager import CacheManager
from engine.core.counts import ModelCounts
from engine.core.pacing import Pacing
from engine.core.plan import BatchPlan
from engine.core.runner import LanguageModel
from engine.core.scheduler import Scheduler
from engine.core.whole import WholeScheduler
from engine.models.limits import HOST, StepLimits


class Sequences:
    """Who is next, and how fast prompts are read. It outlives the weights while they are paused.

    counts: what all of this checkpoint's sequences did.
    """

    def __init__(
        self,
        model: LanguageModel,
        cache: CacheManager,
        speculate: int = 0,
        counts: ModelCounts | None = None,
    ) -> None:
        self.vocab_size, self.traits = model.vocab_size, model.traits
        self.scheduler = _scheduler(model, cache, speculate)
        self.pacing = Pacing(cache.block_size, limits_of(model).rows)
        self.counts = counts or ModelCounts()
        self.counts.watch(self.scheduler)

    @property
    def is_idle(self) -> bool:
        return self.scheduler.is_idle

    @property
    def stall_seconds(self) -> float:
        """How long others may stall for the prompts that are still to be read."""
        unread = self.scheduler.unread()
        return self.pacing.shared_seconds(len(unread), sum(unread))

    def measured(self, plan: BatchPlan, seconds: float) -> None:
        """A step took so long."""
        num_read = plan.num_prefill_tokens
        self.pacing.measured(num_read, plan.num_tokens - num_read, seconds)


def limits_of(model: LanguageModel) -> StepLimits:
    """What its steps may be at most: a model on a device says so itself."""
    found: StepLimits = getattr(model, "limits", HOST)
    return found


def _scheduler(model: LanguageModel, cache: CacheManager, speculate: int) -> Scheduler:
    if model.traits.max_whole_tokens is not None:
        return WholeScheduler(cache)
    limits = limits_of(model)
    return Scheduler(
        cache,
        max_sequences=limits.sequences,
        max_scored_rows=limits.logit_rows - limits.sequences,  # each running one may sample besides
        length_switch=model.length_switch,
        max_draft_tokens=speculate if model.traits.generates else 0,
    )
