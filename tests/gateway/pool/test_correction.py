from gateway.pool.actions import Evict, Grant, Load, OnlyPinnedLeft, Reject
from gateway.pool.terms import Terms
from tests.gateway.pool.desk import Desk


def test_the_ledger_takes_what_a_load_really_took():
    """Less frees room for others, at once."""
    desk = Desk()
    desk.ask(1, "a", 60)
    desk.policy.loaded(1, 0.1, used_bytes=45)

    assert desk.policy.ledger.held("cpu0") == 45
    assert isinstance(desk.ask(2, "b", 55)[0], Load)


def test_idle_models_go_until_a_load_that_took_more_fits():
    """The least recently used first; nobody who is busy is touched, nor what is pinned."""
    desk = Desk()
    desk.serve(1, "idle", 20)
    desk.serve(2, "busy", 20)
    desk.serve(3, "pinned", 20, terms=Terms(pinned=True))
    desk.policy.released(1, 1.0)
    desk.policy.released(3, 1.0)
    desk.ask(4, "a", 40, now=1.0)

    assert desk.policy.loaded(4, 2.0, used_bytes=50) == [
        Grant(4, "a", 4, ("cpu0",), 2048),
        Evict(1, "idle", ("cpu0",), "", "correction"),
    ]


def test_the_next_load_is_planned_by_what_the_last_one_took():
    """A plan that was too small once is not made again; the error is kept for the metrics."""
    desk = Desk()
    desk.ask(1, "a", 60)
    desk.policy.loaded(1, 0.0, used_bytes=70)
    desk.policy.released(1, 1.0)
    desk.policy.unload_requested("a", False, 1.0)
    desk.policy.evicted(1, 1.0)

    (load,) = desk.ask(2, "a", 60, now=2.0)

    assert load.bytes == 70
    assert desk.policy.models["a"].excess_bytes == 10


def test_a_model_larger_than_its_device_serves_alone():
    """What was measured may be more than there is: then it evicts nobody in vain, nor itself."""
    desk = Desk()
    desk.ask(1, "a", 90)
    desk.policy.loaded(1, 0.0, used_bytes=120)

    assert desk.policy.released(1, 1.0) == []
    assert desk.ask(2, "b", 10, now=1.0) == [Evict(1, "a", ("cpu0",), "b")]
    assert desk.policy.evicted(1, 1.1) == [Load(2, "b", ("cpu0",), "dense", 2048, 10)]


def test_who_fits_beside_the_pinned_only_as_planned_is_refused():
    """What a model took the last time counts, or it would wait for room that never comes."""
    desk = Desk()
    desk.ask(1, "a", 60)
    desk.policy.loaded(1, 0.0, used_bytes=63)
    desk.policy.released(1, 1.0)
    desk.policy.unload_requested("a", False, 1.0)
    desk.policy.evicted(1, 1.0)
    desk.serve(2, "pinned", 40, now=2.0, terms=Terms(pinned=True))

    assert desk.ask(3, "a", 60, now=3.0) == [Reject(3, "a", OnlyPinnedLeft(63, 60))]
