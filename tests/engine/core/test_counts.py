from engine.api import STEP_TOKENS_BOUNDS, TOKEN_SECONDS_BOUNDS
from engine.cache.manager import CacheManager
from engine.core.counts import ModelCounts
from engine.core.plan import BatchPlan, Chunk
from engine.core.scheduler import Scheduler
from engine.core.sequence import Sequence


def _chunk(num_tokens: int, *, is_begun: bool) -> Chunk:
    sequence = Sequence([1] * num_tokens, 4, is_begun=is_begun)
    return Chunk(sequence, 0, num_tokens, range(0), samples=True)


def test_a_token_is_timed_from_the_step_before():
    """Once for each sequence that goes on; a first token has none before it."""
    counts = ModelCounts()
    counts.stepped(BatchPlan((_chunk(20, is_begun=False),)), 1, now=5.0)
    going_on = _chunk(1, is_begun=True), _chunk(1, is_begun=True), _chunk(9, is_begun=False)
    counts.stepped(BatchPlan(going_on), 3, now=5.03)

    stats = counts.stats()
    place = TOKEN_SECONDS_BOUNDS.index(0.05)
    assert [n for n, count in enumerate(stats.token_seconds) if count] == [place]
    assert stats.token_seconds[place] == 2
    assert abs(stats.token_seconds_sum - 0.06) < 1e-9
    assert stats.generated_tokens == 4
    assert stats.step_tokens_sum == 31
    assert stats.step_tokens[STEP_TOKENS_BOUNDS.index(32)] == 1
    assert stats.step_tokens[STEP_TOKENS_BOUNDS.index(16)] == 1


def test_the_scheduler_tells_how_it_stands_while_it_is_there():
    """Counts stay when the model has gone; its cache and its sequences do not."""
    counts = ModelCounts()
    scheduler = Scheduler(CacheManager(8, 16))
    counts.watch(scheduler)
    assert (counts.stats().waiting, counts.stats().num_blocks) == (0, 8)
    scheduler.add(Sequence([1, 2, 3], 4))

    assert (counts.stats().waiting, counts.stats().num_blocks) == (1, 8)
    del scheduler
    assert (counts.stats().waiting, counts.stats().num_blocks) == (0, 0)
