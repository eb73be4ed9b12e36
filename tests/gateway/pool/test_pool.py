import asyncio
import gc
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from engine.api import Device, EngineError, Footprint
from gateway.pool import (
    Lease,
    LoadFailedError,
    ModelStatus,
    Pool,
    PoolClosed,
    PoolLimits,
    PoolModel,
    QueueFull,
    TooLarge,
    TooLargeForDevice,
    WaitExceeded,
)
from tests.gateway.fakes import FakeEngine, make_card

LIMITS = PoolLimits(max_waiting=1000, max_waiting_per_model=1000)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Client:
    """A request as a task: holds its lease until it is told to leave."""

    def __init__(self, pool: Pool, model: PoolModel) -> None:
        self._leave = asyncio.Event()
        self.granted: asyncio.Future[Lease] = asyncio.get_running_loop().create_future()
        self.task = asyncio.create_task(self._run(pool, model))

    async def _run(self, pool: Pool, model: PoolModel) -> None:
        async with pool.lease(model) as lease:
            self.granted.set_result(lease)
            await self._leave.wait()

    async def leave(self) -> None:
        self._leave.set()
        await self.task


def model(engine: FakeEngine, key: str, num_bytes: int = 600) -> PoolModel:
    card = make_card(f"/models/{key}", weights_bytes=num_bytes)
    engine.add(card)
    return PoolModel(key, card, card.path)


async def turn_loop() -> None:
    for _ in range(8):
        await asyncio.sleep(0)


async def test_a_lease_names_where_the_model_is(fake_engine: FakeEngine):
    """Within the block the model is resident, and its handle and context are known."""
    pool = Pool(fake_engine)

    async with pool.lease(model(fake_engine, "a")) as lease:
        assert lease == Lease("a", handle=1, place=("cpu",), kv_tokens=2048)
        assert pool.status("a").leases == 1

    assert pool.status("a").leases == 0
    assert [order.path for order in fake_engine.loads] == ["/models/a"]


async def test_a_load_is_ordered_with_what_was_placed(fake_engine: FakeEngine):
    """Tokens, slots and bytes: what the engine allocates is what the ledger holds."""
    footprint = Footprint("dense", 400, 0, 0, state_bytes_per_sequence=50)
    card = make_card("/models/mamba", footprints=(footprint,))
    fake_engine.add(card)
    pool = Pool(fake_engine)

    async with pool.lease(PoolModel("mamba", card, card.path)):
        (order,) = fake_engine.loads
        assert (order.kv_tokens, order.state_slots) == (2048, 4)
        assert pool.status("mamba").bytes == 400 + 4 * 50 == fake_engine.held_bytes("cpu")


async def test_a_second_model_evicts_the_first(fake_engine: FakeEngine):
    """Alternating over a budget for one swaps each time, with a new handle each time."""
    pool = Pool(fake_engine)
    handles = []
    for key in ("a", "b", "a"):
        async with pool.lease(model(fake_engine, key)) as lease:
            handles.append(lease.handle)

    assert handles == [1, 2, 3]
    assert fake_engine.evictions == [1, 2]


async def test_a_thundering_herd_makes_one_load(fake_engine: FakeEngine):
    """Five hundred simultaneous requests for a cold model load it once."""
    fake_engine.hold_loads = True
    pool, wanted = Pool(fake_engine, LIMITS), model(fake_engine, "a")
    clients = [Client(pool, wanted) for _ in range(500)]
    await turn_loop()
    assert pool.status("a").waiting == 500

    fake_engine.finish_load("/models/a")
    leases = await asyncio.gather(*(client.granted for client in clients))

    assert len(fake_engine.loads) == 1
    assert {lease.handle for lease in leases} == {1}
    await asyncio.gather(*(client.leave() for client in clients))
    assert pool.status("a").leases == 0


async def test_progress_of_a_load_can_be_seen(fake_engine: FakeEngine):
    """While a model loads, its status tells how far it is and how many wait."""
    fake_engine.hold_loads = True
    pool = Pool(fake_engine)
    client = Client(pool, model(fake_engine, "a"))
    await turn_loop()

    fake_engine.report_progress("/models/a", 0.43)

    status = pool.status("a")
    assert (status.state, status.fraction, status.waiting) == ("loading", 0.43, 1)
    fake_engine.finish_load("/models/a")
    await client.granted
    assert pool.status("a").fraction == 1.0
    await client.leave()


async def test_states_are_told_through_a_swap(fake_engine: FakeEngine):
    """unloaded, loading, loaded, draining, unloading, unloaded: each can be seen."""
    fake_engine.hold_loads = fake_engine.hold_evictions = True
    clock = Clock()
    pool = Pool(fake_engine, PoolLimits(pausing=False), clock)
    states = [pool.status("a").state]
    first = Client(pool, model(fake_engine, "a"))
    await turn_loop()
    states.append(pool.status("a").state)
    fake_engine.finish_load("/models/a")
    await first.granted
    states.append(pool.status("a").state)
    second = Client(pool, model(fake_engine, "b"))
    await turn_loop()
    clock.now = 2.0
    pool.tick()
    states.append(pool.status("a").state)
    await first.leave()
    await turn_loop()
    states.append(pool.status("a").state)
    fake_engine.finish_eviction("/models/a")
    await turn_loop()
    states.append(pool.status("a").state)

    assert states == ["unloaded", "loading", "loaded", "draining", "unloading", "unloaded"]
    fake_engine.finish_load("/models/b")
    await second.granted
    await second.leave()


async def test_an_unknown_model_is_unloaded(fake_engine: FakeEngine):
    """A model that nobody asked for has a status too."""
    assert Pool(fake_engine).status("never") == ModelStatus("never")


async def test_the_snapshot_names_every_model_asked_for(fake_engine: FakeEngine):
    """Bytes, device, handle and idle time of what is resident; the rest is unloaded."""
    clock = Clock()
    pool = Pool(fake_engine, clock=clock)
    for key in ("a", "b"):
        async with pool.lease(model(fake_engine, key)):
            clock.now += 1.0
    clock.now += 5.0

    assert pool.snapshot() == {
        "a": ModelStatus("a", num_loads=1, load_seconds=0.0, planned_bytes=600),
        "b": ModelStatus(
            "b",
            state="loaded",
            fraction=1.0,
            handle=2,
            place=("cpu",),
            bytes=600,
            kv_tokens=2048,
            idle_seconds=5.0,
            num_loads=1,
            load_seconds=0.0,
            planned_bytes=600,
        ),
    }


async def test_a_load_whose_last_waiter_leaves_is_stopped(fake_engine: FakeEngine):
    """Cancelling the only waiter cancels the engine's load and frees its bytes."""
    fake_engine.hold_loads = True
    pool = Pool(fake_engine)
    client = Client(pool, model(fake_engine, "a"))
    await turn_loop()

    client.task.cancel()
    await turn_loop()

    assert not fake_engine.models
    assert pool.status("a").state == "unloaded"


async def test_a_waiter_that_leaves_before_its_load_began_loses_nothing(fake_engine: FakeEngine):
    """A load cancelled before its task ever ran is settled all the same."""
    pool, wanted = Pool(fake_engine), model(fake_engine, "a")
    context = pool.lease(wanted)
    entering = asyncio.ensure_future(context.__aenter__())
    await asyncio.sleep(0)
    entering.cancel()
    await asyncio.gather(entering, return_exceptions=True)
    await turn_loop()

    async with pool.lease(wanted) as lease:
        assert lease.model == "a"


@pytest.mark.parametrize("turns", range(6))
async def test_a_request_cancelled_as_it_is_granted_gives_its_lease_back(
    fake_engine: FakeEngine, turns: int
):
    """A grant may cross a cancellation at any turn of the loop; others are granted all the same."""
    fake_engine.hold_loads = True
    pool, wanted = Pool(fake_engine), model(fake_engine, "a")
    client, other = Client(pool, wanted), Client(pool, wanted)
    await turn_loop()

    fake_engine.finish_load("/models/a")
    for _ in range(turns):
        await asyncio.sleep(0)
    client.task.cancel()
    await turn_loop()

    assert client.task.cancelled()
    assert other.granted.done()
    assert pool.status("a").leases == 1
    await other.leave()


async def test_what_can_never_fit_is_refused_with_its_bytes(fake_engine: FakeEngine):
    """507 material: needed and available, and no load."""
    pool = Pool(fake_engine)

    with pytest.raises(TooLargeForDevice) as error:
        async with pool.lease(model(fake_engine, "huge", 1001)):
            pass

    assert (error.value.needed, error.value.available) == (1001, 1000)
    assert not fake_engine.loads
    assert pool.fit(make_card("huge", weights_bytes=1001)) == TooLarge(1001, 1000)


async def test_a_full_queue_is_refused(fake_engine: FakeEngine):
    """More waiters than allowed are turned away at once, with a time to come back."""
    fake_engine.hold_loads = True
    pool, wanted = Pool(fake_engine, PoolLimits(max_waiting_per_model=1)), model(fake_engine, "a")
    client = Client(pool, wanted)
    await turn_loop()

    with pytest.raises(QueueFull) as error:
        async with pool.lease(wanted):
            pass

    assert error.value.retry_after_seconds == 5
    client.task.cancel()
    await turn_loop()


async def test_waiting_ends_by_itself(fake_engine: FakeEngine):
    """The pool's own timer refuses who has waited too long."""
    fake_engine.hold_loads = True
    pool = Pool(fake_engine, PoolLimits(wait_timeout_seconds=0.02))

    with pytest.raises(WaitExceeded):
        async with pool.lease(model(fake_engine, "a")):
            pass


async def test_a_failed_load_tells_its_waiters_why(fake_engine: FakeEngine):
    """The engine's code and words reach every waiter; the next request tries again."""
    pool, wanted = Pool(fake_engine), model(fake_engine, "a")
    fake_engine.errors["load"] = EngineError("bad_checkpoint", "tensor 3 is cut short")

    with pytest.raises(LoadFailedError, match="tensor 3 is cut short") as error:
        async with pool.lease(wanted):
            pass

    assert error.value.code == "bad_checkpoint"
    del fake_engine.errors["load"]
    async with pool.lease(wanted) as lease:
        assert lease.handle == 2


async def test_an_error_inside_the_lease_gives_it_back(fake_engine: FakeEngine):
    """Whatever ends the block, the model is idle again."""
    pool = Pool(fake_engine)

    with pytest.raises(LookupError):
        async with pool.lease(model(fake_engine, "a")):
            raise LookupError

    assert pool.status("a").leases == 0


async def test_a_lost_worker_is_loaded_again_when_it_is_back(fake_engine: FakeEngine):
    """Who waited goes on waiting and is served by the new worker; old leases are void."""
    pool = Pool(fake_engine)
    old = Client(pool, model(fake_engine, "a", 400))
    await old.granted
    fake_engine.hold_loads = True
    waiting = Client(pool, model(fake_engine, "b", 500))
    await turn_loop()

    fake_engine.lose("cpu")
    await turn_loop()
    assert pool.status("a").state == "unloaded"
    await old.leave()
    fake_engine.restore("cpu")
    pool.tick()
    await turn_loop()
    fake_engine.finish_load("/models/b")

    assert (await waiting.granted).handle == 3
    await waiting.leave()


async def test_the_pool_notices_by_itself_that_a_worker_is_back(fake_engine: FakeEngine):
    """Nobody has to tell the pool: it looks at the engine's status while a device is lost."""
    pool = Pool(fake_engine)
    fake_engine.lose("cpu")
    client = Client(pool, model(fake_engine, "a"))
    await turn_loop()
    assert not fake_engine.loads

    fake_engine.restore("cpu")

    await asyncio.wait_for(client.granted, 5)
    await client.leave()


async def test_memory_counts_until_the_engine_confirms_an_eviction(
    fake_engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
):
    """An eviction that failed is tried again; until it succeeds nothing else is loaded."""
    monkeypatch.setattr("gateway.pool.orders.RETRY_SECONDS", 0.0)
    pool = Pool(fake_engine, clock=Clock())
    async with pool.lease(model(fake_engine, "a")):
        pass
    fake_engine.models[1].streams = 1  # a sequence that the worker has not stopped yet
    client = Client(pool, model(fake_engine, "b"))
    await turn_loop()
    assert [order.path for order in fake_engine.loads] == ["/models/a"]
    assert pool.status("a").state == "unloading"

    fake_engine.models[1].streams = 0

    assert (await client.granted).handle == 2
    await client.leave()
    fake_engine.bugs.clear()  # evicting a busy model was this test's own doing


async def test_closing_refuses_who_waits(fake_engine: FakeEngine):
    """At shutdown waiters are told so, loads are stopped, and nobody new is let in."""
    fake_engine.hold_loads = True
    pool, wanted = Pool(fake_engine), model(fake_engine, "a")
    client = Client(pool, wanted)
    await turn_loop()

    await pool.close()

    with pytest.raises(PoolClosed):
        await client.task
    with pytest.raises(PoolClosed):
        async with pool.lease(wanted):
            pass
    assert not fake_engine.models


async def test_every_real_happening_is_one_log_line(fake_engine: FakeEngine):
    """A swap logs its loads, its eviction and its refusals, once each."""
    pool = Pool(fake_engine)
    with capture_logs() as lines:
        async with pool.lease(model(fake_engine, "a")):
            pass
        async with pool.lease(model(fake_engine, "b")):
            pass
        with pytest.raises(TooLargeForDevice):
            async with pool.lease(model(fake_engine, "huge", 2000)):
                pass

    assert [(line["event"], line["model"]) for line in lines] == [
        ("model_loading", "a"),
        ("model_loaded", "a"),
        ("model_evicting", "a"),
        ("model_evicted", "a"),
        ("model_loading", "b"),
        ("model_loaded", "b"),
        ("request_refused", "huge"),
    ]


async def test_nothing_is_left_behind():
    """After many swaps the pool holds no task, no waiter and no byte beyond what is resident."""
    engine = FakeEngine(devices=[Device("cpu", 1000)])
    pool, models = Pool(engine, clock=Clock()), [model(engine, key) for key in "abc"]
    for number in range(100):
        async with pool.lease(models[number % 3]):
            pass
    await turn_loop()
    gc.collect()

    assert engine.held_bytes("cpu") == 600
    assert not pool._orders.num_running
    assert not pool._requests
    assert not pool._ready_since.keys() - pool._policy.residents
    assert len(pool._policy.residents) == 1


async def test_an_order_says_what_to_compute_in(fake_engine: FakeEngine):
    """Also when the model comes back from a pause; its card is for that, and for nothing else."""
    clock = Clock()
    pool = Pool(fake_engine, PoolLimits(drain_seconds=0), clock)
    exact = replace(model(fake_engine, "a"), dtype="float32", kv_dtype="q8_0")
    first = Client(pool, exact)
    await first.granted
    second = Client(pool, model(fake_engine, "b"))
    await turn_loop()
    clock.now = 2.0
    pool.tick()
    await second.granted
    await second.leave()
    await turn_loop()

    found = [
        (order.path, order.dtype, order.kv_dtype, order.resumes) for order in fake_engine.loads
    ]
    assert found == [
        ("/models/a", "float32", "q8_0", False),
        ("/models/b", "auto", "auto", False),
        ("/models/a", "float32", "q8_0", True),
    ]
    await first.leave()


async def test_what_is_outdated_retires(fake_engine: FakeEngine):
    """Those who use it end in peace; nothing else goes."""
    pool = Pool(fake_engine)
    outdated, other = (Client(pool, model(fake_engine, key, num_bytes=300)) for key in ("a", "b"))
    await outdated.granted
    await other.granted
    pool.retire(lambda each: each.key == "a")
    await turn_loop()
    assert pool.status("a").state == "loaded"

    await outdated.leave()
    await other.leave()
    await turn_loop()
    assert (pool.status("a").state, pool.status("b").state) == ("unloaded", "loaded")
