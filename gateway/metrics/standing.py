"""How models stand at the moment of a scrape: the pool's numbers with their workers'."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from engine.api import STEP_TOKENS_BOUNDS, TOKEN_SECONDS_BOUNDS, Engine, ModelStats
from gateway.metrics.distribution import Distribution
from gateway.metrics.names import COUNTS
from gateway.pool import ModelStatus, Pool

Known = Callable[[], Mapping[str, str]]
"""Ids of the models that there are, each with the path of its checkpoint, "" for none here."""


@dataclass(slots=True)
class Standing:
    """Of one model, on all devices. block_size, num_blocks: of its cache, 0 while it is not loaded."""

    running: int = 0
    waiting: int = 0
    state: str = "unloaded"
    block_size: int = 0
    num_blocks: int = 0
    free_blocks: int = 0
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTS, 0))
    token_seconds: Distribution = field(default_factory=lambda: Distribution(TOKEN_SECONDS_BOUNDS))
    step_tokens: Distribution = field(default_factory=lambda: Distribution(STEP_TOKENS_BOUNDS))

    @property
    def kv_usage(self) -> float:
        return (self.num_blocks - self.free_blocks) / self.num_blocks if self.num_blocks else 0.0

    def add_status(self, status: ModelStatus) -> None:
        """A file that was replaced has an old key beside its new one."""
        self.running += status.leases
        self.waiting += status.waiting
        if status.state != "unloaded":
            self.state = status.state

    def add_stats(self, stats: ModelStats) -> None:
        queued = min(stats.waiting, self.running)  # they have their model, and no room in it yet
        self.running -= queued
        self.waiting += queued
        self.block_size = stats.block_size or self.block_size
        self.num_blocks += stats.num_blocks
        self.free_blocks += stats.free_blocks
        for name in self.counts:
            self.counts[name] += getattr(stats, name)
        self.token_seconds.add(stats.token_seconds, stats.token_seconds_sum)
        self.step_tokens.add(stats.step_tokens, stats.step_tokens_sum)


def standings(engine: Engine, pool: Pool, known: Known) -> dict[str, Standing]:
    """By id, of the models that are there and were asked for."""
    ids = known()
    found: dict[str, Standing] = {}
    for key, status in pool.snapshot().items():
        model = key.rpartition("@")[0]
        if model in ids:
            found.setdefault(model, Standing()).add_status(status)
    by_path = {path: model for model, path in ids.items() if path}
    for device in engine.status.stats.values():
        for path, stats in device.models.items():
            if path in by_path:
                found.setdefault(by_path[path], Standing()).add_stats(stats)
    return found
