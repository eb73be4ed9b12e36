"""Models that lie on several devices together."""

import asyncio

import pytest

from engine.api import Delta, Device, EngineError, Footprint
from gateway.pool import Fit, Placement, Pool, PoolLimits, PoolModel, TooLarge, places_for
from gateway.pool.actions import CannotFit, Evict, Grant, Load, OnlyPinnedLeft, Pause, Reject
from gateway.pool.placement import fit
from gateway.pool.terms import Terms
from tests.gateway.fakes import FakeEngine, make_card
from tests.gateway.pool.desk import Desk
from tests.gateway.pool.test_pool_walk import turn_loop

PAIR = ("cpu0", "cpu1")
SPREAD = PoolLimits(tensor_parallel=(PAIR,), max_wait_seconds=2.0, drain_seconds=0.0)
DEVICES = [Device("cpu0", 100), Device("cpu1", 100), Device("cpu2", 100)]


# --- where a model may go -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("terms", "places"),
    [
        (Terms(), [("cpu0",), ("cpu1",), ("cpu2",), PAIR]),
        (Terms(tensor_parallel=1), [("cpu0",), ("cpu1",), ("cpu2",)]),
        (Terms(tensor_parallel=2), [PAIR]),
        (Terms(devices=("cpu1", "cpu2")), [("cpu1",), ("cpu2",)]),
        (Terms(devices=("cpu2", "cpu1"), tensor_parallel=2), [("cpu2", "cpu1")]),
        (Terms(tensor_parallel=3), []),
    ],
)
def test_places_come_from_configuration(terms: Terms, places: list[tuple[str, ...]]):
    """Single devices, groups that are named, and a model's own devices if it says how many."""
    assert places_for(["cpu0", "cpu1", "cpu2"], [PAIR], terms) == places


def test_without_configuration_nothing_is_spread():
    """What is too large for each device is refused, however many there are."""
    desk = Desk(None, 100, 100)

    assert desk.ask(1, "a", 150) == [Reject(1, "a", CannotFit(150, 100))]


def test_each_device_holds_its_share_and_a_workspace_of_its_own():
    """Weights and caches are divided, rounded up; activations are whole on each."""
    footprint = Footprint("dense", 1001, kv_bytes_per_token=3, workspace_bytes=100)
    card = make_card("m", footprints=(footprint,), context_length=16)
    devices = [Device(name, 700) for name in PAIR]

    assert fit(card, devices, None, [PAIR]) == Fit(Placement("dense", 16, 501 + 100 + 32), (PAIR,))
    assert fit(card, devices, None, [("cpu0",)]) == TooLarge(1001 + 100 + 48, 700)


def test_the_smallest_device_of_a_group_says_what_fits():
    """Shares are equal; what is told of a refusal is of all devices together."""
    devices = [Device("cpu0", 500), Device("cpu1", 90)]
    card = make_card("m", weights_bytes=190)

    assert fit(card, devices, None, [("cpu1",), PAIR]) == TooLarge(190, 180)


def test_one_device_is_preferred():
    """A group is used only by what fits on no device by itself."""
    card = make_card("m", weights_bytes=100)

    found = fit(card, DEVICES, None, [("cpu0",), PAIR])

    assert isinstance(found, Fit)
    assert found.places == (("cpu0",),)


# --- one placement ------------------------------------------------------------------------------


def test_a_group_is_one_load_under_one_handle():
    """The ledger holds the share on each device, and it is granted once."""
    desk = Desk(SPREAD, 100, 100)

    assert desk.ask(1, "large", 150) == [Load(1, "large", PAIR, "dense", 2048, 75)]
    assert [desk.policy.ledger.held(device) for device in PAIR] == [75, 75]
    assert desk.policy.loaded(1, 0.1) == [Grant(1, "large", 1, PAIR, 2048)]


def test_all_of_its_room_is_made_or_none():
    """What is idle on one device stays as long as a request runs on the other."""
    desk = Desk(PoolLimits(tensor_parallel=(PAIR,), pausing=False), 100, 100)
    desk.serve(1, "a", 60)
    desk.serve(2, "b", 60)
    desk.policy.released(1, 1.0)

    waiting = [*desk.ask(3, "large", 150, now=2.0), *desk.policy.ticked(9.0)]
    assert not [action for action in waiting if isinstance(action, Evict)]
    assert desk.policy.released(2, 9.5) == [
        Evict(1, "a", ("cpu0",), "large"),
        Evict(2, "b", ("cpu1",), "large"),
    ]


def test_a_group_is_paused_and_resumed_as_one():
    """Its bytes are free on every device meanwhile, and it comes back to all of them."""
    desk = Desk(SPREAD, 100, 100)
    desk.ask(1, "large", 150)
    desk.policy.loaded(1, 0.0)
    desk.ask(2, "b", 60, now=1.0)

    assert Pause(1, "large", PAIR, "b") in desk.policy.ticked(3.0)
    (load,) = desk.policy.paused(1, 3.1)
    assert [desk.policy.ledger.held(device) for device in PAIR] == [60, 0]
    desk.policy.loaded(load.handle, 3.2)
    (evict,) = [a for a in desk.policy.released(2, 9.0) if isinstance(a, Evict)]
    (resume,) = desk.policy.evicted(evict.handle, 9.1)
    assert resume == Load(1, "large", PAIR, "dense", 2048, 75, resumes=True)


def test_losing_one_worker_loses_the_model():
    """Its leases are void; what is on the other device counts until that is free of it."""
    desk = Desk(SPREAD, 100, 100)
    desk.ask(1, "large", 150)
    desk.policy.loaded(1, 0.0)

    lost = desk.policy.worker_lost("cpu1", 1.0)

    assert lost == [Evict(1, "large", ("cpu0",), "", "lost")]
    assert [desk.policy.ledger.held(device) for device in PAIR] == [75, 0]
    assert not desk.policy.released(1, 1.1)
    assert not desk.ask(2, "large", 150, now=1.2)
    assert not desk.policy.evicted(1, 1.3)
    assert desk.policy.device_ready("cpu1", 2.0) == [Load(2, "large", PAIR, "dense", 2048, 75)]


def test_an_outcome_that_comes_after_the_loss_changes_nothing():
    """A load that had ended by then is not granted to anyone."""
    desk = Desk(SPREAD, 100, 100)
    desk.ask(1, "large", 150)
    desk.policy.worker_lost("cpu0", 1.0)

    assert not desk.policy.loaded(1, 1.1)
    assert not desk.policy.failed(1, "internal", "late", 1.2)
    assert [desk.policy.ledger.held(device) for device in PAIR] == [0, 75]


def test_a_pin_on_one_device_keeps_a_group_out():
    """The refusal counts all devices of the group, as far as the fullest lets it."""
    desk = Desk(SPREAD, 100, 100)
    desk.serve(1, "pinned", 40, terms=Terms(pinned=True))

    assert desk.ask(2, "large", 150) == [Reject(2, "large", OnlyPinnedLeft(150, 120))]


def test_a_plan_names_the_devices_of_a_group():
    """With the bytes of all, and the victims of each."""
    desk = Desk(SPREAD, 100, 100)
    desk.serve(1, "a", 60)
    desk.policy.released(1, 1.0)

    found = desk.policy.plan("large", make_card("large", weights_bytes=150), 9.0)

    assert (found.device, found.bytes) == ("cpu0+cpu1", 150)
    assert found.reasons == (
        "needs 150 bytes on cpu0+cpu1 as dense, 2048 tokens",
        "evicts a, idle for 8.0 s (60 bytes on cpu0)",
    )


# --- the shell ----------------------------------------------------------------------------------


def spread_pool(engine: FakeEngine) -> tuple[Pool, PoolModel]:
    engine.devices = DEVICES
    engine.add(make_card("large", weights_bytes=150))
    card = make_card("large", weights_bytes=150)
    return Pool(engine, SPREAD), PoolModel("large", card, "large")


async def test_the_engine_is_told_of_all_devices(fake_engine: FakeEngine):
    """The first speaks for all; status and ledger show each."""
    pool, model = spread_pool(fake_engine)

    async with pool.lease(model) as lease:
        status = pool.status("large")

    (order,) = fake_engine.loads
    assert (order.device, order.others, lease.device) == ("cpu0", ("cpu1",), "cpu0")
    assert (status.device, status.bytes, status.planned_bytes) == ("cpu0+cpu1", 150, 150)
    assert pool.held_bytes() == {"cpu0": 75, "cpu1": 75, "cpu2": 0}
    await pool.close()


@pytest.mark.parametrize("device", PAIR)
async def test_a_lost_worker_frees_the_whole_group(fake_engine: FakeEngine, device: str):
    """Whoever streams hears of it, and the next request loads it anew once all is there again."""
    pool, model = spread_pool(fake_engine)
    fake_engine.deltas["large"] = [Delta(0, "first"), Delta(0, "second")]
    async with pool.lease(model) as lease:
        stream = aiter(fake_engine.generate(lease.device, lease.handle, []))
        await anext(stream)
        fake_engine.lose(device)
        with pytest.raises(EngineError, match="died"):
            await anext(stream)
        assert pool.status("large").state == "unloading"
    await turn_loop()
    assert pool.held_bytes() == dict.fromkeys(("cpu0", "cpu1", "cpu2"), 0)
    fake_engine.restore(device)
    pool.tick()

    async with asyncio.timeout(5), pool.lease(model) as lease:
        assert lease.handle == 2
    assert fake_engine.evictions == [1]
    await pool.close()


async def test_a_load_that_loses_a_worker_is_tried_again(fake_engine: FakeEngine):
    """Who waits for it goes on waiting."""
    pool, model = spread_pool(fake_engine)
    fake_engine.hold_loads = True
    waiting = asyncio.create_task(pool.preload(model))
    await turn_loop()
    fake_engine.lose("cpu1")
    await turn_loop()
    fake_engine.hold_loads = False
    fake_engine.restore("cpu1")
    pool.tick()

    async with asyncio.timeout(5):
        await waiting
    assert [order.handle for order in fake_engine.loads] == [1, 2]
    await pool.close()
