from gateway.pool.actions import (
    CancelLoad,
    CannotLoad,
    Close,
    Evict,
    Grant,
    Load,
    Pause,
    Reject,
    Revoke,
)
from gateway.pool.limits import PoolLimits
from tests.gateway.pool.desk import PAUSING, Desk


def paused_desk() -> Desk:
    """Model a (handle 1, request 1) is paused, model b (handle 2, request 2) is loading."""
    desk = Desk(PAUSING)
    desk.serve(1, "a")
    desk.ask(2, "b", now=1.0)
    desk.policy.ticked(2.0)
    desk.policy.ticked(3.0)
    (load,) = desk.policy.paused(1, 3.1)
    assert isinstance(load, Load)
    return desk


def test_a_busy_model_is_closed_first_and_paused_at_max_wait():
    """Short requests end within `drain_seconds`; what still runs at max_wait is paused."""
    desk = Desk(PAUSING)
    desk.serve(1, "a")
    desk.ask(2, "b", now=1.0)

    assert desk.policy.next_deadline(1.0) == 2.0
    assert desk.policy.ticked(2.0) == [Close(1, "a", "b", leases=1)]
    assert desk.policy.next_deadline(2.0) == 3.0
    assert desk.policy.ticked(3.0) == [Pause(1, "a", ("cpu0",), "b")]


def test_what_ends_while_it_drains_is_evicted_not_paused():
    """A short request just ends, and its model goes as any idle one."""
    desk = Desk(PAUSING)
    desk.serve(1, "a")
    desk.ask(2, "b", now=1.0)
    desk.policy.ticked(2.0)

    assert desk.policy.released(1, 2.5) == [Evict(1, "a", ("cpu0",), "b")]


def test_a_pausing_model_holds_its_bytes_until_the_engine_says_they_are_free():
    """The newcomer's load starts at `paused`, not before (invariant 1)."""
    desk = Desk(PAUSING)
    desk.serve(1, "a")
    desk.ask(2, "b", now=1.0)
    desk.policy.ticked(3.0)

    assert desk.policy.ledger.held("cpu0") == 60
    assert desk.policy.paused(1, 3.2) == [Load(2, "b", ("cpu0",), "dense", 2048, 60)]


def test_a_paused_model_comes_back_in_its_turn_under_its_handle():
    """It waits for room since it was paused; then it is loaded on its device, leases and all."""
    desk = paused_desk()
    desk.policy.loaded(2, 3.5)
    assert desk.policy.ticked(4.25) == [Close(2, "b", "a", leases=1)]
    desk.policy.ticked(5.0)

    assert desk.policy.paused(2, 5.1) == [Load(1, "a", ("cpu0",), "dense", 2048, 60, resumes=True)]
    assert desk.policy.loaded(1, 5.5) == []
    assert desk.policy.residents[1].leases == {1}


def test_who_asks_for_a_paused_model_waits_with_it():
    """New requests are granted once it is back."""
    desk = paused_desk()
    assert desk.ask(3, "a", now=3.3) == []
    desk.policy.loaded(2, 3.5)
    assert desk.policy.released(2, 3.9) == []  # b has had too little of its turn (invariant 4)
    assert desk.policy.ticked(4.25) == [Evict(2, "b", ("cpu0",), "a")]
    desk.policy.evicted(2, 4.3)

    assert desk.policy.loaded(1, 4.5) == [Grant(3, "a", 1, ("cpu0",), 2048)]


def test_a_paused_model_that_nobody_uses_any_more_is_evicted():
    """It holds no bytes, but the engine keeps its sequences; who waits for it loads it anew."""
    desk = paused_desk()
    desk.ask(3, "a", now=3.2)

    assert desk.policy.released(1, 3.3) == [Evict(1, "a", ("cpu0",), "", "abandoned")]
    desk.policy.loaded(2, 3.5)
    assert desk.policy.evicted(1, 3.6) == []
    assert desk.policy.ticked(5.4)[0] == Pause(2, "b", ("cpu0",), "a")
    (load,) = desk.policy.paused(2, 5.5)
    assert load == Load(3, "a", ("cpu0",), "dense", 2048, 60)


def test_a_resume_that_nobody_wants_any_more_is_cancelled():
    """Its last lease ended while it loaded: the load is stopped, then the rest is dropped."""
    desk = paused_desk()
    desk.policy.cancelled(2, 3.2)
    (resume,) = desk.policy.failed(2, "internal", "cancelled", 3.3)
    assert resume == Load(1, "a", ("cpu0",), "dense", 2048, 60, resumes=True)

    assert desk.policy.released(1, 3.4) == [CancelLoad(1, "a")]
    assert desk.policy.failed(1, "internal", "cancelled", 3.5) == [
        Evict(1, "a", ("cpu0",), "", "abandoned")
    ]
    assert desk.policy.ledger.held("cpu0") == 0


def test_a_resume_that_fails_ends_its_requests():
    """Those who used it and those who waited for it hear why; nothing stays paused for ever."""
    desk = paused_desk()
    desk.policy.cancelled(2, 3.2)
    desk.policy.failed(2, "internal", "cancelled", 3.3)
    desk.ask(3, "a", now=3.4)

    reason = CannotLoad("bad_checkpoint", "gone", 0.0)
    assert desk.policy.failed(1, "bad_checkpoint", "gone", 3.5) == [
        Reject(3, "a", reason),
        Revoke(1, "a", (1,), reason),
    ]
    assert desk.policy.released(1, 3.6) == [Evict(1, "a", ("cpu0",), "", "failed")]
    assert desk.ask(4, "c", 100, now=3.6) == [Load(3, "c", ("cpu0",), "dense", 2048, 100)]


def test_a_lost_worker_takes_what_is_paused_with_it():
    """Its sequences were there: the leases are void, and the bytes are counted once."""
    desk = paused_desk()

    desk.policy.worker_lost("cpu0", 3.2)

    assert not desk.policy.residents
    assert desk.policy.released(1, 3.3) == []
    assert desk.policy.paused(1, 3.4) == []


def test_a_newcomer_that_leaves_gives_the_room_back_at_once():
    """If nobody waits any more, what was paused comes back as soon as its bytes are free."""
    desk = Desk(PAUSING)
    desk.serve(1, "a")
    desk.ask(2, "b", now=1.0)
    desk.policy.ticked(3.0)
    desk.policy.cancelled(2, 3.05)

    assert desk.policy.paused(1, 3.1) == [Load(1, "a", ("cpu0",), "dense", 2048, 60, resumes=True)]


def test_a_model_gets_its_dwell_before_it_makes_room():
    """1.5 times what its swap took, up to max_wait, whoever waits (invariant 4)."""
    desk = Desk(PAUSING)
    desk.ask(1, "a", now=0.0)
    desk.ask(2, "b", now=0.1)
    desk.policy.loaded(1, 1.2)  # 1.2 s to load: a turn of 1.8 s at least

    assert desk.policy.next_deadline(2.0) == 3.0
    assert [type(action) for action in desk.policy.ticked(2.9)] == []
    assert desk.policy.ticked(3.0)[0] == Pause(1, "a", ("cpu0",), "b")


def test_an_idle_model_that_was_used_for_long_goes_at_once():
    """Dwell is counted from when it was ready, so it is over for whatever has been there a while."""
    desk = Desk(PoolLimits())
    desk.ask(1, "a", now=0.0)
    desk.policy.loaded(1, 1.0)
    desk.policy.released(1, 2.0)

    assert desk.ask(2, "b", now=2.0) == []
    assert desk.policy.next_deadline(2.0) == 2.5
    assert desk.policy.ticked(2.5) == [Evict(1, "a", ("cpu0",), "b")]


def test_seconds_spent_swapping_are_counted_by_device():
    """From the first word of a swap until the newcomer is ready; overlapping ones once."""
    desk = Desk(PAUSING, 100, 100)
    desk.ask(1, "a", now=0.0)
    desk.ask(2, "b", 40, now=0.5)
    desk.policy.loaded(1, 2.0)

    assert desk.policy.swaps.until(2.5) == {"cpu0": 2.0, "cpu1": 2.0}
