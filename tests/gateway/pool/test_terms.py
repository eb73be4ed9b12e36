import math

import pytest

from gateway.pool.actions import (
    CancelLoad,
    Close,
    Evict,
    Grant,
    Load,
    OnlyPinnedLeft,
    Pause,
    Reject,
    Revoke,
    Unloaded,
)
from gateway.pool.groups import Group
from gateway.pool.limits import PoolLimits
from gateway.pool.terms import Terms, keep_alive_of
from tests.gateway.fakes import make_card
from tests.gateway.pool.desk import PAUSING, Desk

PINNED = Terms(pinned=True)


# --- pins ---------------------------------------------------------------------------------------


def test_a_pinned_model_is_never_a_victim():
    """Others make room, even if the pinned one was used least recently (invariant 7)."""
    desk = Desk()
    desk.serve(1, "pinned", 50, terms=PINNED)
    desk.serve(2, "b", 50, now=1.0)
    desk.policy.released(1, 1.0)
    desk.policy.released(2, 2.0)

    assert desk.ask(3, "c", 50, now=3.0) == [Evict(2, "b", ("cpu0",), "c")]


def test_what_only_pinned_models_keep_out_is_refused_at_once():
    """With the bytes needed, and those that no pin holds (invariant 7)."""
    desk = Desk()
    desk.serve(1, "pinned", 60, terms=PINNED)

    assert desk.ask(2, "b", 50, now=1.0) == [Reject(2, "b", OnlyPinnedLeft(50, 40))]


def test_a_pin_set_meanwhile_refuses_who_waits_in_vain():
    """An administrator's pin counts from then on, and goes with `False`."""
    desk = Desk()
    desk.serve(1, "a")
    desk.ask(2, "b", now=0.5)

    assert desk.policy.pinned("a", True, 1.0) == [Reject(2, "b", OnlyPinnedLeft(60, 40))]
    desk.policy.released(1, 2.0)
    desk.policy.pinned("a", False, 2.0)
    assert desk.ask(3, "b", now=3.0) == [Evict(1, "a", ("cpu0",), "b")]


def test_a_pin_does_not_cut_what_is_paused():
    """A model pinned while a paused one needs its room makes room once more."""
    desk = Desk(PAUSING)
    desk.serve(1, "a")
    desk.ask(2, "b", now=1.0)
    desk.policy.ticked(3.0)
    desk.policy.paused(1, 3.1)
    desk.policy.loaded(2, 3.2)

    desk.policy.pinned("b", True, 3.3)

    assert desk.policy.ticked(5.0)[-1] == Pause(2, "b", ("cpu0",), "a")


def test_a_pinned_newcomer_pauses_nobody():
    """It would never give the room back, so it waits for the requests of the others to end."""
    desk = Desk(PAUSING)
    desk.serve(1, "a")
    desk.ask(2, "pinned", now=1.0, terms=PINNED)

    assert desk.policy.ticked(3.0) == [Close(1, "a", "pinned", leases=1)]
    assert desk.policy.ticked(50.0) == []
    assert desk.policy.released(1, 60.0) == [Evict(1, "a", ("cpu0",), "pinned")]


# --- keep-alive ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "meant"), [(5.0, 5.0), (0.0, 0.0), (-1.0, None), (math.inf, None)]
)
def test_keep_alive_means_what_it_means_to_ollama(asked: float, meant: float | None):
    """Seconds after the last use; 0 at once, negative for ever."""
    assert keep_alive_of(asked) == meant


def test_an_idle_model_expires():
    """So long after its last use as its terms say, without anybody needing the room."""
    desk = Desk()
    desk.serve(1, "a", terms=Terms(keep_alive_seconds=5.0))
    assert desk.policy.ticked(100.0) == []
    desk.policy.released(1, 100.0)

    assert desk.policy.next_deadline(100.0) == 105.0
    assert desk.policy.ticked(104.9) == []
    assert desk.policy.ticked(105.0) == [Evict(1, "a", ("cpu0",), "", "expired")]


def test_a_request_may_say_how_long_its_model_stays():
    """It overrides the model's terms until another request says otherwise."""
    desk, terms = Desk(), Terms(keep_alive_seconds=5.0)
    desk.serve(1, "a", terms=terms, keep_alive=-1.0)
    desk.policy.released(1, 1.0)
    desk.ask(2, "a", now=2.0, terms=terms)
    desk.policy.released(2, 2.0)
    assert desk.policy.next_deadline(2.0) is None

    desk.ask(3, "a", now=50.0, terms=terms, keep_alive=0.0)

    assert desk.policy.released(3, 51.0) == [Evict(1, "a", ("cpu0",), "", "expired")]


def test_a_pinned_model_does_not_expire():
    """A pin is stronger than any keep-alive."""
    desk = Desk()
    desk.serve(1, "a", terms=Terms(pinned=True, keep_alive_seconds=0.0))

    assert desk.policy.released(1, 1.0) == []


# --- priority and devices -----------------------------------------------------------------------


def test_priority_counts_as_waiting_already_done():
    """A level is worth `max_wait_seconds`: more urgent models come first, but others not never."""
    desk = Desk(PoolLimits(max_wait_seconds=2.0, pausing=False))
    desk.serve(1, "a")
    desk.ask(2, "b", now=1.0)
    desk.ask(3, "urgent", now=2.0, terms=Terms(priority=1))

    assert desk.policy.released(1, 2.5) == [Evict(1, "a", ("cpu0",), "urgent")]


def test_a_request_adds_its_priority():
    """And one that came long enough before is served first all the same."""
    desk = Desk(PoolLimits(max_wait_seconds=2.0, pausing=False))
    desk.serve(1, "a")
    desk.ask(2, "b", now=1.0)
    desk.ask(3, "urgent", now=3.5, priority=1)

    assert desk.policy.released(1, 4.0) == [Evict(1, "a", ("cpu0",), "b")]


def test_a_model_goes_to_its_devices_alone():
    """However much room there is elsewhere."""
    desk = Desk(None, 100, 100)
    terms = Terms(devices=("cpu1",))

    assert desk.ask(1, "a", terms=terms) == [Load(1, "a", ("cpu1",), "dense", 2048, 60)]
    (reject,) = desk.ask(2, "b", terms=Terms(devices=("gpu9",)))
    assert isinstance(reject, Reject)


# --- unloading ----------------------------------------------------------------------------------


def test_unloading_lets_requests_end():
    """The model is closed, and goes with its last lease; who asks meanwhile has it loaded anew."""
    desk = Desk()
    desk.serve(1, "a")

    assert desk.policy.unload_requested("a", False, 1.0) == [Close(1, "a", "", leases=1)]
    assert desk.ask(2, "a", now=1.5) == []
    assert desk.policy.released(1, 9.0) == [Evict(1, "a", ("cpu0",), "", "asked")]
    assert desk.policy.evicted(1, 9.1) == [Load(2, "a", ("cpu0",), "dense", 2048, 60)]


def test_unloading_by_force_ends_requests_first():
    """Nothing is evicted before each of them has given its lease back."""
    desk = Desk()
    desk.serve(1, "a")

    assert desk.policy.unload_requested("a", True, 1.0) == [
        Revoke(1, "a", (1,), Unloaded()),
        Close(1, "a", "", leases=1),
    ]
    assert desk.policy.released(1, 1.1) == [Evict(1, "a", ("cpu0",), "", "asked")]


def test_unloading_by_force_stops_a_load():
    """Who waited for it is refused."""
    desk = Desk()
    desk.ask(1, "a")

    assert desk.policy.unload_requested("a", True, 1.0) == [
        Reject(1, "a", Unloaded()),
        CancelLoad(1, "a"),
    ]


# --- groups -------------------------------------------------------------------------------------


def test_a_group_limits_how_many_of_its_models_are_resident():
    """The least recently used of them goes, though there is room for all."""
    desk = Desk(groups=(Group("few", frozenset("abc"), at_most=2),))
    for request, key in enumerate("abx"):
        desk.serve(request, key, 10, now=float(request))
        desk.policy.released(request, float(request))

    assert desk.ask(9, "c", 10, now=9.0) == [Evict(1, "a", ("cpu0",), "c")]


def test_a_busy_rival_is_drained_or_paused():
    """A group is no reason to cut a stream."""
    desk = Desk(PAUSING, groups=(Group("few", frozenset("ab"), at_most=1),))
    desk.serve(1, "a", 10)
    assert desk.ask(2, "b", 10, now=1.0) == []

    assert desk.policy.ticked(2.0) == [Close(1, "a", "b", leases=1)]
    assert desk.policy.ticked(3.0) == [Pause(1, "a", ("cpu0",), "b")]


def test_a_model_that_is_alone_has_everything_else_leave_first():
    """On every device, and nothing else comes while it is there."""
    desk = Desk(None, 100, 100, groups=(Group("alone", frozenset("z"), is_alone=True),))
    desk.serve(1, "a", 60)
    desk.serve(2, "b", 60)
    desk.policy.released(1, 1.0)
    desk.policy.released(2, 1.0)

    evictions = desk.ask(3, "z", 10, now=2.0)
    assert {action.model for action in evictions} == {"a", "b"}
    assert desk.policy.evicted(1, 2.1) == []
    (load,) = desk.policy.evicted(2, 2.2)
    assert load.model == "z"
    assert desk.policy.loaded(load.handle, 2.3) == [Grant(3, "z", 3, load.place, 2048)]
    assert desk.ask(4, "a", 10, now=9.0) == []


def test_a_pinned_rival_refuses_the_newcomer():
    """A group whose places are pinned has none left (invariant 7)."""
    desk = Desk(groups=(Group("few", frozenset("ab"), at_most=1),))
    desk.serve(1, "a", 10, terms=PINNED)

    assert desk.ask(2, "b", 10, now=1.0) == [Reject(2, "b", OnlyPinnedLeft(10, 90))]


# --- settings that change -----------------------------------------------------------------------


def test_other_terms_do_not_wait_for_the_next_request():
    """A model that the operator pins while it is loaded is no victim from then on."""
    desk = Desk()
    desk.serve(1, "a")
    desk.policy.released(1, 1.0)
    desk.policy.renewed("a", PINNED, 2.0)

    assert desk.ask(2, "b", now=3.0) == [Reject(2, "b", OnlyPinnedLeft(60, 40))]


def test_a_keep_alive_of_the_settings_counts_from_its_change_on():
    """What a request said itself is kept while the settings say what they said."""
    desk = Desk()
    desk.serve(1, "a", keep_alive=50)
    desk.policy.released(1, 1.0)
    desk.policy.renewed("a", Terms(priority=1), 2.0)
    assert desk.policy.next_deadline(2.0) == 51.0

    desk.policy.renewed("a", Terms(keep_alive_seconds=5), 3.0)

    assert desk.policy.next_deadline(3.0) == 6.0


def test_other_limits_hold_from_the_next_event_on():
    """A shorter queue refuses newcomers, not those who wait in it."""
    desk = Desk()
    desk.serve(1, "a")
    desk.ask(2, "b")
    desk.ask(3, "b")
    desk.policy.retune(PoolLimits(pausing=False, max_waiting_per_model=1))

    assert [type(action) for action in desk.ask(4, "b")] == [Reject]
    assert len(desk.policy.models["b"].waiters) == 2


def test_a_model_of_its_own_context():
    """Instead of the limit for all; what is loaded keeps the one that it has."""
    desk = Desk(PoolLimits(max_context=64))
    card = make_card("a", weights_bytes=60, context_length=256)
    own = Terms(max_context=128)
    assert desk.policy.fit(card, own).placement.kv_tokens == 128
    desk.serve(1, "a")

    assert desk.policy.fit(card, own, "a").placement.kv_tokens == 64
    assert desk.policy.fit(card, own, "b").placement.kv_tokens == 128


# --- other keys ---------------------------------------------------------------------------------


def test_what_retires_goes_once_nobody_uses_it():
    """Pinned or not, and by nobody's request."""
    desk = Desk()
    desk.serve(1, "a", terms=PINNED)
    assert desk.policy.retired("a", 1.0) == []

    assert desk.policy.released(1, 2.0) == [Evict(1, "a", ("cpu0",), reason="expired")]


def test_a_model_under_another_key_takes_the_place_of_the_old():
    """The old one stays for those who use it, and no pin of its own holds the new one up."""
    desk = Desk()
    desk.serve(1, "tiny@1", name="tiny", terms=PINNED)
    assert desk.ask(2, "tiny@1+float32", now=1.0, name="tiny", terms=PINNED) == []

    evict = Evict(1, "tiny@1", ("cpu0",), reason="expired")
    assert desk.policy.released(1, 2.0) == [evict]
    (load,) = desk.policy.evicted(1, 3.0)
    assert isinstance(load, Load)
    assert load.model == "tiny@1+float32"


def test_an_administrators_pin_is_of_the_model_by_whichever_key():
    """It was said of the name."""
    desk = Desk()
    desk.serve(1, "tiny@1", 40, name="tiny")
    desk.policy.pinned("tiny@1", True, 0.5)
    desk.serve(2, "tiny@2", 40, 1.0, name="tiny")
    desk.policy.released(1, 2.0)
    desk.policy.evicted(1, 2.0)
    desk.policy.released(2, 2.0)

    assert desk.ask(3, "other", 80, now=3.0) == [Reject(3, "other", OnlyPinnedLeft(80, 60))]


def test_one_that_is_wanted_again_stays():
    """As when a setting is taken back before the model has gone."""
    desk = Desk()
    desk.serve(1, "a")
    desk.policy.retired("a", 1.0)
    desk.ask(2, "a", now=1.0)
    desk.policy.released(1, 2.0)

    assert desk.policy.released(2, 2.0) == []


def test_what_is_paused_comes_back_before_it_goes():
    """Its requests are answered first, as it was when they began."""
    desk = Desk(PAUSING)
    desk.serve(1, "a", terms=PINNED)
    desk.policy.renewed("a", Terms(), 0.0)
    desk.ask(2, "b", now=1.0)
    desk.policy.ticked(4.0)
    desk.policy.paused(1, 4.0)
    desk.policy.loaded(2, 4.0)
    desk.policy.retired("a", 4.0)
    (evict,) = desk.policy.released(2, 20.0)
    assert isinstance(evict, Evict)
    (load,) = desk.policy.evicted(2, 20.0)
    assert isinstance(load, Load)
    assert load.resumes

    assert desk.policy.loaded(1, 21.0) == []
    assert desk.policy.released(1, 22.0) == [Evict(1, "a", ("cpu0",), reason="expired")]
