"""A leader and a follower over real lines and sums: each step on both, or on neither."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from engine.api import EngineError
from engine.cache.views import CacheView
from engine.core.led import Follower, LedModel
from engine.core.lines import Line, accept, connect, decoded, encoded, listen
from engine.core.ranks import Ranks
from engine.kernels.batch import ForwardBatch
from engine.models.shards import Shard
from engine.nn.model import Traits
from engine.residency.loader import LoadCancelled
from tests.engine.batches import layout_of

CPU = torch.device("cpu")


def batch_of(*token_ids: int) -> ForwardBatch:
    rows = torch.tensor(token_ids)
    layout = layout_of([len(rows)], [len(rows) + 3], torch.tensor([[4, 2]]), 16)
    layout = replace(layout, longest_query=len(rows), longest_context=len(rows) + 3)
    return ForwardBatch(rows, rows + 1, rows + 2, torch.tensor([len(rows) - 1]), layout)


@dataclass
class Adding:
    """A part of a model: sums up token ids over the ranks, thrice. error: raised in its second sum."""

    ranks: Ranks
    error: Exception | None = None
    heard: list[list[int]] = field(default_factory=list)
    vocab_size: int = 8
    length_switch: int | None = None
    traits: Traits = field(default_factory=Traits)

    def forward(self, batch: ForwardBatch, caches: Sequence[CacheView]) -> Tensor:
        assert self.ranks.group.sum is not None
        self.heard.append(batch.token_ids.tolist())
        x = self.ranks.group.sum(batch.token_ids.float())
        if self.error:
            error, self.error = self.error, None
            raise error
        return self.ranks.group.sum(self.ranks.group.sum(x))


@dataclass
class Pair:
    led: LedModel
    leader: Adding
    follower: Adding
    thread: Follower
    line: Line


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    ranks = [Ranks(tmp_path, Shard(rank, 2), CPU) for rank in range(2)]
    leader, follower = (Adding(each) for each in ranks)
    thread, server = Follower(1), listen(tmp_path / "leader", 2)
    line = connect(tmp_path / "leader", 1, lambda: False)
    led = LedModel(leader, ranks[0], accept(server, 1, lambda: False))
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda each: each.meet(lambda: False), ranks))
    thread.follow(follower, [], ranks[1], line)
    yield Pair(led, leader, follower, thread, line)
    led.close()
    thread.end()
    server.close()


def test_a_step_is_computed_by_all(pair):
    """On one batch; sums are of all ranks."""
    found = [pair.led.forward(batch_of(*ids), []) for ids in ([1, 2], [3])]

    assert [each.tolist() for each in found] == [[8.0, 16.0], [24.0]]
    assert pair.follower.heard == [[1, 2], [3]]


def test_a_followers_error_ends_the_step_alone(pair):
    """The leader hears why; the next step is computed as if nothing had been."""
    pair.follower.error = MemoryError()

    with pytest.raises(EngineError, match="out of memory") as error:
        pair.led.forward(batch_of(1), [])
    assert error.value.code == "out_of_memory"
    assert pair.led.forward(batch_of(5), []).tolist() == [40.0]


def test_a_leaders_error_ends_the_step_alone(pair):
    """It is raised as it is, and the follower does not wait for what never comes."""
    pair.leader.error = ZeroDivisionError()

    with pytest.raises(ZeroDivisionError):
        pair.led.forward(batch_of(1), [])
    assert pair.led.forward(batch_of(5), []).tolist() == [40.0]


def test_steps_go_on_after_many_errors(pair):
    """On either side."""
    for number in range(6):
        (pair.leader, pair.follower)[number % 2].error = MemoryError()
        with pytest.raises((EngineError, MemoryError)):
            pair.led.forward(batch_of(1), [])
        assert pair.led.forward(batch_of(5), []).tolist() == [40.0]


def test_a_lost_follower_ends_every_step(pair):
    """At once, and with what is to be said to whoever waits."""
    pair.line.close()

    for _ in range(2):
        with pytest.raises(EngineError, match="a part of the model was lost") as error:
            pair.led.forward(batch_of(1), [])
        assert error.value.code == "worker_lost"


def test_a_cancelled_meeting_ends(tmp_path):
    """Whoever waits for ranks that will not come can be told so."""
    cancelled = threading.Event()
    threading.Timer(0.1, cancelled.set).start()
    with pytest.raises(LoadCancelled):
        Ranks(tmp_path, Shard(0, 2), CPU).meet(cancelled.is_set)
    with pytest.raises(LoadCancelled):
        connect(tmp_path / "nobody", 1, cancelled.is_set)
    server = listen(tmp_path / "leader", 1)
    with pytest.raises(LoadCancelled):
        accept(server, 1, cancelled.is_set)
    server.close()


@pytest.mark.parametrize("segments", [None, torch.tensor([0, 1, 1])])
def test_a_batch_arrives_as_it_was(segments):
    """Every tensor and every number of it."""
    batch = replace(batch_of(7, 3, 5), segments=segments)
    there = decoded(encoded(batch))

    for name in ("token_ids", "positions", "lengths", "logit_rows"):
        assert torch.equal(getattr(there, name), getattr(batch, name))
    assert (there.segments is None) == (segments is None)
    assert segments is None or torch.equal(there.segments, segments)
    for name in batch.layout.__slots__:
        ours, theirs = getattr(batch.layout, name), getattr(there.layout, name)
        assert torch.equal(ours, theirs) if isinstance(ours, Tensor) else ours == theirs


def test_sizes_that_do_not_fit_are_refused():
    """A frame is checked before it is believed."""
    frame = encoded(batch_of(7, 3, 5))
    for sizes in (frame.sizes[:-1], [frame.sizes[0] + 1, *frame.sizes[1:]]):
        with pytest.raises(ValueError, match="do not make up"):
            decoded(type(frame)(sizes, frame.values, 16, 1, 1))
