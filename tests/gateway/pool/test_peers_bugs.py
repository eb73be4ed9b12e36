"""Bugs that users of other servers report most, and that must not happen here.

Each test is named after what went wrong there; its docstring says what the peer did.
"""

import asyncio

from engine.api import Device, EngineError
from gateway.pool import Pool, PoolLimits, PoolModel, Terms
from gateway.pool.actions import (
    CancelLoad,
    CannotFit,
    Close,
    Evict,
    Grant,
    Load,
    OnlyPinnedLeft,
    Pause,
    Reject,
)
from tests.gateway.fakes import FakeEngine, make_card
from tests.gateway.pool.desk import PAUSING, Desk
from tests.gateway.pool.simulation import Arrival, Simulation
from tests.gateway.pool.test_pool import Client, Clock, model, turn_loop


def test_01_a_running_generation_is_not_aborted_for_another_model():
    """llama.cpp's router aborted running generations when another model was asked for (#21678)."""
    desk = Desk(PAUSING)
    desk.serve(1, "a")
    desk.ask(2, "b", now=1.0)

    actions = [*desk.policy.ticked(2.0), *desk.policy.ticked(3.0)]

    assert [type(action) for action in actions] == [Close, Pause]
    assert desk.policy.residents[1].leases == {1}


def test_02_a_victim_that_is_asked_for_again_does_not_deadlock():
    """Ollama's eviction hung for ever when its victim was wanted again (#17408)."""
    desk = Desk()
    desk.serve(1, "a")
    desk.policy.released(1, 1.0)
    assert desk.ask(2, "b", now=1.0) == [Evict(1, "a", ("cpu0",), "b")]
    assert desk.ask(3, "a", now=1.1) == []

    assert desk.policy.evicted(1, 1.2) == [Load(2, "b", ("cpu0",), "dense", 2048, 60)]
    desk.policy.loaded(2, 1.3)
    assert desk.policy.released(2, 9.0) == [Evict(2, "b", ("cpu0",), "a")]
    assert desk.policy.evicted(2, 9.1) == [Load(3, "a", ("cpu0",), "dense", 2048, 60)]


def test_03_a_mixed_order_of_requests_does_not_thrash():
    """llama-swap reloads at each change in A B A A C A B C (#612)."""
    simulation = Simulation(PoolLimits(), load_seconds=0.5, evict_seconds=0.1)
    order = "abaacabc" * 20

    simulation.play([Arrival(0.1 * n, key, 60, 0.05) for n, key in enumerate(order)])

    assert len(simulation.waits) == len(order)
    assert len(simulation.loads) < 24  # of 160 requests, in 16 seconds


def test_04_models_are_evicted_by_bytes_not_by_count():
    """llama.cpp's router evicts by the number of models, whatever their size (PR #21231)."""
    desk = Desk()
    for request in range(10):
        desk.serve(request, f"small {request}", 10)
        desk.policy.released(request, float(request))

    evictions = desk.ask(10, "large", 40, now=20.0)

    assert [action.model for action in evictions] == [f"small {n}" for n in range(4)]


def test_05_a_model_that_can_never_fit_evicts_nobody():
    """Ollama evicted and reloaded for ever for one that never could (#18282)."""
    desk = Desk()
    desk.serve(1, "a")
    desk.policy.released(1, 1.0)

    assert desk.ask(2, "huge", 101, now=2.0) == [Reject(2, "huge", CannotFit(101, 100))]


async def test_06_a_model_comes_back_with_the_sizes_that_its_parked_cache_has():
    """Peers lose the prefix cache with the process; ours is parked by the worker that evicts."""
    engine = FakeEngine()
    pool = Pool(engine)
    for key in ("a", "b", "a"):
        await pool.preload(model(engine, key))

    paths = [(order.path, order.kv_tokens, order.state_slots) for order in engine.loads]
    assert paths[0] == paths[2], "the same sizes, so what was parked can be taken back"
    assert engine.evictions == [1, 2]


def test_07_a_model_is_placed_where_memory_is_free():
    """llama-swap does not know the memory of devices (#158, #319)."""
    desk = Desk(None, 100, 150)

    assert desk.ask(1, "a", 60)[0].place == ("cpu1",)
    assert desk.ask(2, "b", 60)[0].place == ("cpu0",)
    assert desk.ask(3, "c", 60)[0].place == ("cpu1",)


def test_08_a_pinned_model_stays_and_what_it_keeps_out_is_told_so():
    """llama.cpp, lemonade and Ollama could not pin (#18153, #1630, #9206)."""
    desk = Desk()
    desk.serve(1, "a", terms=Terms(pinned=True))
    desk.policy.released(1, 1.0)

    assert desk.ask(2, "b", now=99.0) == [Reject(2, "b", OnlyPinnedLeft(60, 40))]


def test_09_a_stray_request_does_not_swap_out_a_model_in_use_at_once():
    """With llama-swap a single request from a tool swaps the model of a conversation (#1127)."""
    desk = Desk(PAUSING)
    desk.serve(1, "mine")
    desk.ask(2, "stray", now=1.0)

    assert desk.policy.cancelled(2, 1.9) == []
    assert desk.policy.residents[1].is_usable


def test_10_nothing_is_evicted_for_a_request_that_left():
    """LM Studio unloads, or loads and unloads, for a request that is gone (#1796, #671)."""
    desk = Desk()
    desk.serve(1, "a")
    desk.ask(2, "b", now=0.5)
    desk.policy.cancelled(2, 0.6)

    assert desk.policy.released(1, 1.0) == []
    assert desk.policy.ticked(50.0) == []


async def test_11_parallel_first_requests_load_a_model_once():
    """LM Studio and llama-swap loaded it several times (#1751, #281)."""
    engine = FakeEngine(hold_loads=True)
    pool, wanted = Pool(engine), model(engine, "a")
    clients = [Client(pool, wanted) for _ in range(100)]
    await turn_loop()

    engine.finish_load("/models/a")
    await asyncio.gather(*(client.granted for client in clients))

    assert len(engine.loads) == 1
    for client in clients:
        await client.leave()


def test_12_models_stay_while_they_fit():
    """LM Studio keeps only the last one that was loaded on demand (#2111)."""
    desk = Desk()
    for request, key in enumerate("abc"):
        desk.serve(request, key, 30)

    assert all(resident.is_usable for resident in desk.policy.residents.values())
    assert len(desk.policy.residents) == 3


def test_13_a_cancelled_request_does_not_leave_its_load_in_the_way():
    """llama-swap goes on loading what nobody waits for, before what somebody does (#727)."""
    desk = Desk()
    desk.ask(1, "wrong")
    desk.ask(2, "right", now=0.1)

    assert desk.policy.cancelled(1, 0.2) == [CancelLoad(1, "wrong")]
    assert desk.policy.failed(1, "internal", "cancelled", 0.3) == [
        Load(2, "right", ("cpu0",), "dense", 2048, 60)
    ]


def test_18_no_request_changes_the_context_and_so_reloads_the_model():
    """With Ollama a client with another `num_ctx` reloads the model for all (#8029, #6148)."""
    desk = Desk()
    desk.serve(1, "a", keep_alive=5.0)

    assert desk.ask(2, "a", keep_alive=60.0, priority=1) == [Grant(2, "a", 1, ("cpu0",), 2048)]


async def test_19_presets_of_one_checkpoint_are_loaded_once():
    """llama.cpp's router loads the weights again for each preset (#23704, #20004)."""
    engine = FakeEngine()
    pool, first = Pool(engine), model(engine, "digest")
    preset = PoolModel(first.key, first.card, first.path, id="creative")

    async with pool.lease(first) as lease, pool.lease(preset) as other:
        assert lease.handle == other.handle

    assert len(engine.loads) == 1


async def test_25_memory_is_back_before_it_is_given_away():
    """With tabbyAPI and vLLM 0.7 to 1 GB stay after an unload, counted as free (#144, #11489)."""
    engine = FakeEngine(hold_evictions=True)
    pool = Pool(engine, clock=Clock())
    await pool.preload(model(engine, "a"))
    client = Client(pool, model(engine, "b"))
    await turn_loop()
    assert len(engine.loads) == 1

    engine.finish_eviction("/models/a")

    await client.granted
    assert pool.held_bytes()["cpu"] == engine.held_bytes("cpu") == 600
    await client.leave()


async def test_26_a_request_during_an_unload_never_gets_the_dying_model():
    """With omlx it got the engine that was being stopped, outside of all accounts (#2431)."""
    engine = FakeEngine(hold_evictions=True)
    pool, wanted = Pool(engine), model(engine, "a")
    await pool.preload(wanted)
    pool.unload("a")
    client = Client(pool, wanted)
    await turn_loop()
    assert not client.granted.done()

    engine.finish_eviction("/models/a")

    assert (await client.granted).handle == 2
    await client.leave()


async def test_a_load_that_fails_leaves_the_other_models_serving():
    """No peer but imp puts things back when a load fails; here they were never taken away."""
    engine = FakeEngine([make_card("/models/bad", weights_bytes=300)], [Device("cpu", 1000)])
    pool = Pool(engine)
    good = Client(pool, model(engine, "good"))
    await good.granted
    engine.errors["load"] = EngineError("bad_checkpoint", "cut short")
    bad = Client(pool, model(engine, "bad", 300))
    await turn_loop()

    assert bad.task.exception() is not None
    assert pool.status("good").state == "loaded"
    await good.leave()
