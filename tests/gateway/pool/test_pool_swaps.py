"""The real pool with what it can do beside leasing: pausing, unloading, pinning, being watched."""

import asyncio
from typing import Any

import pytest

from engine.api import EngineError
from gateway.pool import (
    LoadFailedError,
    ModelUnloaded,
    PinnedModelsInTheWay,
    Pool,
    PoolLimits,
    PoolModel,
    Terms,
)
from tests.gateway.fakes import FakeEngine
from tests.gateway.pool.test_pool import Client, Clock, model, turn_loop


async def paused(engine: FakeEngine, clock: Clock) -> tuple[Pool, Client, Client]:
    """A pool where a is paused, in the middle of a request, and b is served."""
    pool = Pool(engine, PoolLimits(max_wait_seconds=2.0), clock)
    first = Client(pool, model(engine, "a"))
    await first.granted
    second = Client(pool, model(engine, "b"))
    await turn_loop()
    clock.now = 2.0
    pool.tick()
    await second.granted
    return pool, first, second


async def test_a_busy_model_is_paused_and_resumed(fake_engine: FakeEngine):
    """Its lease goes on under the same handle, and the newcomer is served in between."""
    clock = Clock()
    pool, first, second = await paused(fake_engine, clock)
    assert pool.status("a").state == "paused"
    assert (pool.status("a").bytes, pool.status("a").leases) == (0, 1)

    clock.now = 10.0
    pool.tick()
    await turn_loop()

    assert pool.status("a").state == "loaded"
    assert pool.status("b").state == "paused"
    assert fake_engine.pauses == [1, 2]
    assert [(order.handle, order.resumes) for order in fake_engine.loads] == [
        (1, False),
        (2, False),
        (1, True),
    ]
    await first.leave()
    await second.leave()
    await turn_loop()
    assert pool.held_bytes() == {"cpu": fake_engine.held_bytes("cpu")}


class SlowClock(Clock):
    """Time passes between any two looks at it."""

    def __call__(self) -> float:
        self.now += 0.2
        return self.now


async def test_what_falls_due_while_the_timer_is_set_is_not_missed(fake_engine: FakeEngine):
    """A timer that rings a moment early is set again, though that moment is over by then."""
    clock = SlowClock()
    pool = Pool(fake_engine, PoolLimits(max_wait_seconds=2.0), clock)
    first = Client(pool, model(fake_engine, "a"))
    await first.granted
    second = Client(pool, model(fake_engine, "b"))
    await turn_loop()
    clock.now = pool._requests[2].since + 1.7

    pool.tick()

    async with asyncio.timeout(5):
        await second.granted
    await first.leave()
    await second.leave()


async def test_a_resume_that_fails_ends_the_requests_that_were_paused(fake_engine: FakeEngine):
    """With the engine's reason, raised where the lease is held."""
    clock = Clock()
    pool, first, second = await paused(fake_engine, clock)
    fake_engine.errors["load"] = EngineError("bad_checkpoint", "the file is gone")

    await second.leave()
    clock.now = 3.0
    pool.tick()
    await turn_loop()

    with pytest.raises(LoadFailedError, match="the file is gone"):
        await first.task
    await turn_loop()
    assert pool.status("a").state == "unloaded"
    assert 1 in fake_engine.evictions


async def test_unloading_by_force_ends_requests_with_an_error(fake_engine: FakeEngine):
    """Whoever holds a lease hears of it; the engine evicts only when the last one has left."""
    pool = Pool(fake_engine)
    client = Client(pool, model(fake_engine, "a"))
    await client.granted

    pool.unload("a", force=True)

    with pytest.raises(ModelUnloaded):
        await client.task
    await turn_loop()
    assert fake_engine.evictions == [1]
    assert pool.status("a").state == "unloaded"


async def test_a_request_that_is_cancelled_and_ended_at_once_is_cancelled(fake_engine: FakeEngine):
    """A cancellation from outside is never swallowed by ours."""
    pool = Pool(fake_engine)
    client = Client(pool, model(fake_engine, "a"))
    await client.granted

    client.task.cancel()
    pool.unload("a", force=True)
    await turn_loop()

    assert client.task.cancelled()


async def test_unloading_waits_for_requests(fake_engine: FakeEngine):
    """Without force the request ends by itself, and the model goes then."""
    pool = Pool(fake_engine)
    client = Client(pool, model(fake_engine, "a"))
    await client.granted

    pool.unload("a")
    await turn_loop()
    assert pool.status("a").state == "draining"
    await client.leave()
    await turn_loop()

    assert pool.status("a").state == "unloaded"


async def test_preloading_makes_a_model_ready(fake_engine: FakeEngine):
    """Nobody uses it yet, and the keep-alive that was asked for runs."""
    clock = Clock()
    pool = Pool(fake_engine, clock=clock)

    await pool.preload(model(fake_engine, "a"), keep_alive=30.0)

    status = pool.status("a")
    assert (status.state, status.leases, status.expires_in_seconds) == ("loaded", 0, 30.0)
    clock.now = 30.0
    pool.tick()
    await turn_loop()
    assert pool.status("a").state == "unloaded"


async def test_pinned_models_in_the_way_are_told(fake_engine: FakeEngine):
    """503 material, with no time to come back: only an administrator can help."""
    pool, pinned = Pool(fake_engine), model(fake_engine, "a")
    await pool.preload(PoolModel(pinned.key, pinned.card, pinned.path, terms=Terms(pinned=True)))

    with pytest.raises(PinnedModelsInTheWay) as error:
        await pool.preload(model(fake_engine, "b"))

    assert (error.value.needed, error.value.available) == (600, 400)
    assert error.value.retry_after_seconds is None
    pool.pin("a", False)
    await pool.preload(model(fake_engine, "b"))


class Watcher:
    """Remembers the names of what it was told, and about whom."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def on_action(self, action: Any, now: float) -> None:
        self.told.append((type(action).__name__, action.model))

    def on_loaded(self, order: Any, report: Any) -> None:
        self.told.append(("loaded", order.model, report.total_bytes))

    def on_load_failed(self, order: Any, code: str, reason: str) -> None:
        self.told.append(("load failed", order.model, reason))

    def on_paused(self, order: Any) -> None:
        self.told.append(("paused", order.model))

    def on_evicted(self, order: Any, reason: str, resident_seconds: float) -> None:
        self.told.append(("evicted", order.model, reason, resident_seconds))

    def on_waited(self, model: str, seconds: float) -> None:
        self.told.append(("waited", model, seconds))

    def on_lost(self, device: str) -> None:
        self.told.append(("lost", device))


async def test_an_observer_hears_of_a_whole_swap(fake_engine: FakeEngine):
    """What was decided and what came of it, in order, with seconds and reasons."""
    clock, watcher = Clock(), Watcher()
    pool = Pool(fake_engine, clock=clock, observers=[watcher])
    await pool.preload(model(fake_engine, "a"))
    clock.now = 7.0

    await pool.preload(model(fake_engine, "b"))

    assert watcher.told == [
        ("Load", "a"),
        ("loaded", "a", 600),
        ("Grant", "a"),
        ("waited", "a", 0.0),
        ("Evict", "a"),
        ("evicted", "a", "room", 7.0),
        ("Load", "b"),
        ("loaded", "b", 600),
        ("Grant", "b"),
        ("waited", "b", 0.0),
    ]


async def test_an_observer_hears_of_failures(fake_engine: FakeEngine):
    """A load that fails, one that is cancelled, a worker that dies."""
    watcher, pool = Watcher(), Pool(fake_engine)
    pool.observe(watcher)
    fake_engine.errors["load"] = EngineError("bad_checkpoint", "cut short")
    with pytest.raises(LoadFailedError):
        await pool.preload(model(fake_engine, "a"))
    del fake_engine.errors["load"]
    fake_engine.hold_loads = True
    waiting = asyncio.ensure_future(pool.preload(model(fake_engine, "b")))
    await turn_loop()
    waiting.cancel()
    await turn_loop()

    fake_engine.lose("cpu")

    assert ("load failed", "a", "cut short") in watcher.told
    assert ("load failed", "b", "cancelled") in watcher.told
    assert watcher.told[-1] == ("lost", "cpu")
    await pool.close()


async def test_seconds_spent_swapping_can_be_read(fake_engine: FakeEngine):
    """By device, what is going on included."""
    clock = Clock()
    fake_engine.hold_loads = True
    pool = Pool(fake_engine, clock=clock)
    client = Client(pool, model(fake_engine, "a"))
    await turn_loop()
    clock.now = 1.5

    assert pool.swap_seconds() == {"cpu": 1.5}
    fake_engine.finish_load("/models/a")
    await client.granted
    await client.leave()
