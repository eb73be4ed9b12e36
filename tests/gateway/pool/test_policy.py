from gateway.pool.actions import (
    CancelLoad,
    CannotFit,
    CannotLoad,
    Close,
    Evict,
    Grant,
    Load,
    QueueIsFull,
    Reject,
    Reopen,
    WaitedTooLong,
)
from gateway.pool.limits import PoolLimits
from tests.gateway.pool.desk import Desk


def test_a_cold_model_is_loaded_and_granted():
    """The first request loads the model; once loaded it is granted with what was planned."""
    desk = Desk()

    assert desk.ask(1, "a") == [Load(1, "a", ("cpu0",), "dense", 2048, 60)]
    assert desk.policy.loaded(1, 1.0) == [Grant(1, "a", 1, ("cpu0",), 2048)]


def test_a_ready_model_is_granted_at_once():
    """A request for a ready and open model does not wait."""
    desk = Desk()
    handle = desk.serve(1, "a")

    assert desk.ask(2, "a") == [Grant(2, "a", handle, ("cpu0",), 2048)]


def test_one_load_serves_all_who_ask():
    """Requests that come while a model loads wait for that load (invariant 5)."""
    desk = Desk()
    desk.ask(1, "a")

    assert desk.ask(2, "a") == []
    assert desk.ask(3, "a") == []
    assert [g.request for g in desk.policy.loaded(1, 1.0)] == [1, 2, 3]


def test_models_stay_while_they_fit():
    """A second model that fits beside the first evicts nobody."""
    desk = Desk()
    desk.serve(1, "a", 60)

    assert desk.ask(2, "b", 40) == [Load(2, "b", ("cpu0",), "dense", 2048, 40)]


def test_an_idle_model_is_evicted_at_once_and_counted_until_it_is_gone():
    """The newcomer's load starts only when the victim's bytes are confirmed free (invariant 1)."""
    desk = Desk()
    handle = desk.serve(1, "a")
    desk.policy.released(1, 1.0)

    assert desk.ask(2, "b", now=1.0) == [Evict(handle, "a", ("cpu0",), "b")]
    assert desk.policy.ledger.held("cpu0") == 60
    assert desk.policy.evicted(handle, 1.5) == [Load(2, "b", ("cpu0",), "dense", 2048, 60)]


def test_a_busy_model_is_closed_and_drained_not_cut():
    """After max_wait a busy model takes no new leases; it is evicted when its last one ends."""
    desk = Desk(PoolLimits(max_wait_seconds=2.0, pausing=False))
    handle = desk.serve(1, "a")
    assert desk.ask(2, "b", now=1.0) == []
    assert desk.policy.next_deadline(1.0) == 3.0

    assert desk.policy.ticked(3.0) == [Close(handle, "a", "b", leases=1)]
    assert desk.ask(3, "a", now=3.5) == []
    assert desk.policy.released(1, 9.0) == [Evict(handle, "a", ("cpu0",), "b")]


def test_a_busy_model_that_falls_idle_is_evicted_before_max_wait():
    """Nobody has to wait for max_wait when room comes by itself."""
    desk = Desk()
    handle = desk.serve(1, "a")
    desk.ask(2, "b", now=0.1)

    assert desk.policy.released(1, 0.2) == [Evict(handle, "a", ("cpu0",), "b")]


def test_a_closed_model_reopens_when_its_room_is_no_longer_wanted():
    """If the newcomer leaves while the victim drains, the victim serves on."""
    desk = Desk()
    handle = desk.serve(1, "a")
    desk.ask(2, "b", now=0.0)
    desk.policy.ticked(2.0)
    desk.ask(3, "a", now=2.5)

    assert desk.policy.cancelled(2, 3.0) == [
        Reopen(handle, "a"),
        Grant(3, "a", handle, ("cpu0",), 2048),
    ]


def test_nobody_is_evicted_for_a_newcomer_that_would_not_fit_yet():
    """An idle model stays while the busy one beside it keeps the newcomer out (invariant 6)."""
    desk = Desk()
    desk.serve(1, "busy", 60)
    idle = desk.serve(2, "idle", 40)
    desk.policy.released(2, 0.5)

    assert desk.ask(3, "c", 100, now=0.5) == []
    closed = desk.policy.ticked(2.5)
    assert {action.model for action in closed if isinstance(action, Close)} == {"idle", "busy"}
    evicted = desk.policy.released(1, 5.0)
    assert {action.handle for action in evicted if isinstance(action, Evict)} == {1, idle}


def test_what_can_never_fit_is_refused_at_once():
    """The refusal names the bytes needed and available, and nobody is disturbed (invariant 6)."""
    desk = Desk()
    desk.serve(1, "a")
    desk.policy.released(1, 0.5)

    assert desk.ask(2, "huge", 101) == [Reject(2, "huge", CannotFit(101, 100))]


def test_a_load_without_waiters_is_cancelled_and_counted_until_it_is_gone():
    """When the last waiter leaves, the load stops; its bytes count until the worker says so."""
    desk = Desk()
    desk.ask(1, "a")
    desk.ask(2, "a")

    assert desk.policy.cancelled(1, 0.1) == []
    assert desk.policy.cancelled(2, 0.1) == [CancelLoad(1, "a")]
    assert desk.ask(3, "b", now=0.2) == []
    assert desk.policy.failed(1, "internal", "cancelled", 0.3) == [
        Load(2, "b", ("cpu0",), "dense", 2048, 60)
    ]


def test_a_request_during_a_cancelled_load_is_loaded_anew():
    """The old load's end is awaited, and then a fresh handle is used (invariant 9)."""
    desk = Desk()
    desk.ask(1, "a")
    desk.policy.cancelled(1, 0.1)

    assert desk.ask(2, "a", now=0.2) == []
    assert desk.policy.failed(1, "internal", "cancelled", 0.3) == [
        Load(2, "a", ("cpu0",), "dense", 2048, 60)
    ]


def test_a_cancelled_load_that_was_too_late_is_kept():
    """If the model got ready all the same, it serves whoever asked meanwhile."""
    desk = Desk()
    desk.ask(1, "a")
    desk.policy.cancelled(1, 0.1)
    desk.ask(2, "a", now=0.2)

    assert desk.policy.loaded(1, 0.3) == [Grant(2, "a", 1, ("cpu0",), 2048)]


def test_a_failed_load_rejects_its_waiters_and_leaves_others_serving():
    """All who waited hear the reason; the model beside it still grants (invariant 6)."""
    desk = Desk()
    good = desk.serve(1, "good", 40)
    desk.ask(2, "bad", 60)
    desk.ask(3, "bad", 60)

    reason = CannotLoad("bad_checkpoint", "cut short", 0.0)
    assert desk.policy.failed(2, "bad_checkpoint", "cut short", 1.0) == [
        Reject(2, "bad", reason),
        Reject(3, "bad", reason),
    ]
    assert desk.ask(4, "good", 40) == [Grant(4, "good", good, ("cpu0",), 2048)]


def test_a_model_that_keeps_failing_evicts_nobody_for_a_while():
    """From the second failure in a row it is refused without a try until its time is up."""
    desk = Desk()
    for request in (1, 2):
        (load,) = desk.ask(request, "bad")
        desk.policy.failed(load.handle, "bad_checkpoint", "cut short", 0.0)

    (reject,) = desk.ask(3, "bad", now=0.25)
    assert reject == Reject(3, "bad", CannotLoad("bad_checkpoint", "cut short", 0.75))
    assert isinstance(desk.ask(4, "bad", now=1.0)[0], Load)


def test_a_full_queue_refuses_at_once():
    """Per model and in all, only so many may wait; a ready model is not a queue."""
    desk = Desk(PoolLimits(max_waiting_per_model=2, max_waiting=3))
    desk.ask(1, "a")
    desk.ask(2, "a")

    assert desk.ask(3, "a") == [Reject(3, "a", QueueIsFull(2, 2))]
    assert desk.ask(4, "b") == []
    assert desk.ask(5, "c") == [Reject(5, "c", QueueIsFull(3, 3))]
    desk.policy.loaded(1, 1.0)
    assert isinstance(desk.ask(6, "a")[0], Grant)


def test_a_request_that_waited_too_long_is_refused():
    """When its time is up a waiter is refused, and its load stopped if nobody else waits."""
    desk = Desk(PoolLimits(wait_timeout_seconds=10.0))
    desk.ask(1, "a")

    assert desk.policy.next_deadline(2.0) == 10.0
    assert desk.policy.ticked(10.0) == [Reject(1, "a", WaitedTooLong(10.0)), CancelLoad(1, "a")]


def test_cold_models_get_room_in_the_order_of_their_first_waiters():
    """Who asked for a cold model first is loaded first; more requests do not help."""
    desk = Desk()
    desk.serve(1, "a")
    desk.ask(2, "b", now=0.1)
    desk.ask(3, "c", now=0.2)
    desk.ask(4, "c", now=0.3)

    (evict,) = desk.policy.released(1, 1.0)
    assert evict == Evict(1, "a", ("cpu0",), "b")
    (load,) = desk.policy.evicted(1, 1.1)
    assert load == Load(2, "b", ("cpu0",), "dense", 2048, 60)


def test_a_small_model_slips_in_beside_one_that_waits():
    """While a large model waits for a busy one, a small one uses what is free anyway."""
    desk = Desk()
    desk.serve(1, "a", 60)
    desk.ask(2, "large", 70, now=0.0)

    assert desk.ask(3, "small", 30, now=0.1) == [Load(2, "small", ("cpu0",), "dense", 2048, 30)]


def test_every_load_serves_its_waiters_before_it_makes_room():
    """A model that others wait to replace still grants those it was loaded for."""
    desk = Desk()
    desk.ask(1, "a", now=0.0)
    desk.ask(2, "b", now=0.1)

    assert desk.policy.loaded(1, 0.2) == [Grant(1, "a", 1, ("cpu0",), 2048)]
    assert desk.policy.ticked(2.1) == [Close(1, "a", "b", leases=1)]


def test_a_lost_worker_voids_its_leases_and_requeues_its_waiters():
    """What was there is gone; waiters are loaded again, with a new handle, once it is back."""
    desk = Desk()
    desk.serve(1, "served", 40)
    desk.ask(2, "loading", 60)

    assert desk.policy.worker_lost("cpu0", 1.0) == []
    assert desk.policy.ledger.held("cpu0") == 0
    assert desk.policy.released(1, 1.1) == []
    assert desk.ask(3, "served", 40, now=1.2) == []
    loads = desk.policy.device_ready("cpu0", 2.0)
    assert [(load.model, load.handle) for load in loads] == [("loading", 3), ("served", 4)]


def test_reports_about_what_was_lost_change_nothing():
    """A worker's last words about its models come too late to matter (invariant 9)."""
    desk = Desk()
    desk.serve(1, "a", 40)
    desk.ask(2, "b", 60)
    desk.policy.worker_lost("cpu0", 1.0)

    assert desk.policy.loaded(2, 1.1) == []
    assert desk.policy.failed(2, "internal", "late", 1.1) == []
    assert desk.policy.evicted(1, 1.1) == []


def test_a_model_that_kills_its_worker_again_and_again_is_refused():
    """Waiters are queued again only so often; then they hear why (peers retry for ever)."""
    desk = Desk(PoolLimits(max_crashes=3))
    desk.ask(1, "killer")
    for _ in range(2):
        assert desk.policy.worker_lost("cpu0", 1.0) == []
        assert isinstance(desk.policy.device_ready("cpu0", 1.0)[0], Load)

    (reject,) = desk.policy.worker_lost("cpu0", 1.0)
    assert isinstance(reject, Reject)
    assert isinstance(reject.reason, CannotLoad)
    assert reject.reason.code == "worker_lost"


def test_giving_back_a_void_lease_forgives_no_crash():
    """A request that ended with its worker is no sign that the model is well."""
    desk = Desk(PoolLimits(max_crashes=2))
    for request in (1, 2):
        desk.serve(request, "killer")
        desk.policy.worker_lost("cpu0", 1.0)
        desk.policy.released(request, 1.0)
        desk.policy.device_ready("cpu0", 1.0)

    (reject,) = desk.ask(3, "killer", now=1.0)
    assert isinstance(reject, Reject)


def test_small_loads_cannot_keep_a_large_model_out():
    """Past max_wait a large model claims what is still loading too, and later ones wait for it."""
    desk = Desk()
    desk.ask(1, "small", 30, now=0.0)
    desk.ask(2, "large", 100, now=0.1)
    desk.policy.ticked(2.1)

    assert desk.ask(3, "another", 30, now=2.2) == []
    assert desk.policy.loaded(1, 2.3) == [Grant(1, "small", 1, ("cpu0",), 2048)]
    assert desk.policy.ticked(4.3) == [Close(1, "small", "large", leases=1)]


def test_a_second_device_is_used_before_anyone_is_evicted():
    """With two devices, the one with room takes the newcomer."""
    desk = Desk(None, 100, 100)
    desk.serve(1, "a")
    desk.policy.released(1, 0.1)

    assert desk.ask(2, "b") == [Load(2, "b", ("cpu1",), "dense", 2048, 60)]


def test_the_lease_of_a_request_that_left_meanwhile_is_given_back():
    """Cancelling what was granted a moment ago is a release."""
    desk = Desk()
    desk.serve(1, "a")

    assert desk.policy.cancelled(1, 0.1) == []
    assert desk.ask(2, "b", now=0.1) == [Evict(1, "a", ("cpu0",), "b")]


def test_a_build_counts_only_where_it_comes_again():
    """What a first load built is there for the second; one that builds as well shows that it is not."""
    desk = Desk()
    desk.serve(1, "a")
    model = desk.policy.models["a"]

    assert [model.once(seconds) for seconds in (2.0, 2.0, 2.0, 0.0, 2.0)] == [2.0, 0, 0, 0, 2.0]
