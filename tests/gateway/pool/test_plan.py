from gateway.pool.actions import CannotFit, OnlyPinnedLeft
from gateway.pool.limits import PoolLimits
from gateway.pool.plan import Plan
from gateway.pool.policy import Policy
from gateway.pool.terms import Terms
from tests.gateway.fakes import make_card
from tests.gateway.pool.desk import PAUSING, Desk
from tests.gateway.pool.histories import make_history
from tests.gateway.pool.world import World


def plan(desk: Desk, key: str, num_bytes: int, now: float) -> Plan:
    return desk.policy.plan(key, make_card(key, weights_bytes=num_bytes), now)


def test_a_plan_names_who_would_make_room():
    """Victims with their bytes, whether they are idle, and how long all that takes."""
    desk = Desk()
    desk.ask(1, "a", now=0.0)
    desk.policy.loaded(1, 1.0, seconds=1.0)
    desk.policy.released(1, 5.0)

    found = plan(desk, "b", 60, 9.0)

    (victim,) = found.victims
    assert (victim.id, victim.bytes, victim.way, victim.idle_seconds) == ("a", 60, "evict", 4.0)
    assert (found.device, found.bytes, found.waits_for) == ("cpu0", 60, 0)
    assert found.reasons[1] == "evicts a, idle for 4.0 s (60 bytes on cpu0)"


def test_a_plan_says_how_long_a_busy_model_would_hold_out():
    """It is paused after max_wait; without pausing nobody can know."""
    pausing, draining = Desk(PAUSING), Desk(PoolLimits(pausing=False))
    for desk in (pausing, draining):
        desk.serve(1, "a")

    assert plan(pausing, "b", 60, 10.0).victims[0].wait_seconds == 2.0
    assert plan(pausing, "b", 60, 10.0).waits_for == 1
    assert plan(draining, "b", 60, 10.0).expected_seconds is None
    assert plan(draining, "b", 60, 10.0).victims[0].way == "drain"


def test_a_plan_for_what_is_loaded_is_short():
    """Nothing would happen."""
    desk = Desk()
    desk.serve(1, "a")

    found = plan(desk, "a", 60, 1.0)

    assert found.is_loaded
    assert found.expected_seconds == 0.0
    assert found.reasons == ("a is loaded on cpu0 already",)


def test_a_plan_tells_refusals():
    """The same as a request would hear."""
    desk = Desk()
    desk.serve(1, "a", terms=Terms(pinned=True))

    assert plan(desk, "huge", 101, 1.0).refusal == CannotFit(101, 100)
    assert plan(desk, "b", 60, 1.0).refusal == OnlyPinnedLeft(60, 40)


def test_a_plan_changes_nothing():
    """Asked at any moment of any history, the policy afterwards is what it was before."""
    for seed in range(20):
        history = make_history(seed, num_ops=60)
        world = World(history)
        for op in history.ops:
            world.play(op)
            before = _shown(world.policy)
            key = op.choose(sorted(history.cards))

            found = world.policy.plan(key, history.cards[key], world.now, terms=history.terms[key])

            assert found.reasons
            is_unchanged = _shown(world.policy) == before  # a diff of these is long
            assert is_unchanged, op


def _shown(policy: Policy) -> str:
    """All that is in it, but for where in memory."""
    return repr([(m, m.resident) for m in policy.models.values()]) + repr(
        (policy.ledger._held, policy.swaps.seconds, policy.pins, policy._actions)
    )


def test_what_was_planned_is_what_happens():
    """A request made right after the plan loads where it said, once its victims are gone."""
    desk = Desk(None, 100, 100)
    desk.serve(1, "a")
    desk.serve(2, "b")
    desk.policy.released(1, 1.0)

    found = plan(desk, "c", 60, 5.0)
    (evict,) = desk.ask(3, "c", now=5.0)
    (load,) = desk.policy.evicted(evict.handle, 5.1)

    assert (found.victims[0].model, found.device) == (evict.model, *load.place)
