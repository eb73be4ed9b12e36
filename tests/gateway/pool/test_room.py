from engine.api import Device
from gateway.pool.ledger import Ledger
from gateway.pool.limits import PoolLimits
from gateway.pool.placement import Fit, Placement
from gateway.pool.room import Rules, Spaces, least_disturbing
from gateway.pool.space import Claim
from gateway.pool.state import Model, Phase, Resident
from gateway.pool.timing import Timing
from gateway.pool.wishes import Wish


def resident(
    handle: int,
    num_bytes: int,
    used: float = 0.0,
    leases: int = 0,
    phase: Phase = Phase.READY,
    device: str = "one",
) -> Resident:
    placement = Placement("dense", 16, num_bytes)
    model = f"model {handle}"
    return Resident(handle, model, (device,), placement, used, phase, set(range(leases)))


def newcomer(num_bytes: int, *devices: str, since: float = 0.0) -> Wish:
    places = tuple((device,) for device in devices or ("one",))
    model = Model("new", Fit(Placement("dense", 16, num_bytes), places))
    return Wish(model, since, (since, True, 1), places, num_bytes)


def spaces(
    budget: int,
    *residents: Resident,
    devices: tuple[str, ...] = ("one",),
    now: float = 1.0,
    pausing: bool = False,
) -> Spaces:
    ledger = Ledger(Device(device, budget) for device in devices)
    for each in residents:
        ledger.hold(each.place, each.handle, each.bytes)
    timing = Timing(PoolLimits(max_wait_seconds=2.0, pausing=pausing))
    return Spaces(devices, ledger, residents, Rules(timing, now))


def offer(spaces: Spaces, wish: Wish) -> Claim | None:
    offers = [(room, room.offer(wish)) for room in spaces.rooms_for(wish)]
    return least_disturbing([(room, claim) for room, claim in offers if claim is not None])


def test_what_fits_beside_the_others_disturbs_nobody():
    """Free bytes are used before anyone is evicted."""
    claim = offer(spaces(100, resident(1, 40)), newcomer(60))

    assert claim is not None
    assert claim.fits_now
    assert not claim.victims


def test_bytes_on_their_way_out_are_waited_for():
    """What is being evicted counts as room to come: nobody else is evicted for it."""
    leaving = resident(1, 60, phase=Phase.EVICTING)
    claim = offer(spaces(100, leaving, resident(2, 40)), newcomer(60))

    assert claim is not None
    assert claim.is_clear
    assert not claim.fits_now
    assert not claim.victims


def test_room_that_is_still_busy_is_claimed_and_waited_for():
    """A newcomer's claim stands from the start, so that nobody who comes later takes its room."""
    busy = resident(1, 100, leases=1)

    claim = offer(spaces(100, busy), newcomer(50))

    assert claim is not None
    assert claim.victims == (busy,)
    assert not claim.is_clear


def test_a_busy_model_can_go_past_max_wait_if_it_may_be_paused():
    """Then the claim is clear: no request has to end first."""
    busy = resident(1, 100, leases=1)

    early = offer(spaces(100, busy, now=1.9, pausing=True), newcomer(50))
    late = offer(spaces(100, busy, now=2.0, pausing=True), newcomer(50))

    assert early is not None
    assert not early.is_clear
    assert late is not None
    assert late.is_clear


def test_a_later_claim_cannot_take_what_an_earlier_one_waits_for():
    """The bytes of an earlier claim are not offered again; what it leaves over is."""
    busy = resident(1, 70, leases=1)
    found = spaces(100, busy)
    first = offer(found, newcomer(80))
    assert first is not None

    found.accept(first)

    assert offer(found, newcomer(30)) is None
    beside = offer(found, newcomer(20))
    assert beside is not None
    assert beside.fits_now


def test_free_bytes_are_not_given_away_for_later_ones():
    """What is free now is kept for who needs it next, though as much is coming for the other too."""
    leaving = [resident(1, 20, phase=Phase.PAUSING), resident(2, 30, phase=Phase.PAUSING)]
    found = spaces(100, *leaving)
    first = offer(found, newcomer(60))
    assert first is not None
    assert first.is_clear
    found.accept(first)

    later = offer(found, newcomer(30))

    assert later is not None
    assert not later.fits_now


def test_an_idle_model_is_not_evicted_for_room_that_is_still_busy():
    """Bytes that an earlier claim leaves over are not there before its victims have drained."""
    busy, idle = resident(1, 100, leases=1), resident(2, 30)
    found = spaces(130, busy, idle)
    first = offer(found, newcomer(60))
    assert first is not None
    found.accept(first)

    later = offer(found, newcomer(60))

    assert later is not None
    assert not later.is_clear


def test_the_device_that_is_disturbed_least_is_chosen():
    """An idle victim on one device is preferred to a busy one on another."""
    busy, idle = resident(1, 100, leases=1, device="one"), resident(2, 100, device="two")

    claim = offer(spaces(100, busy, idle, devices=("one", "two")), newcomer(50, "one", "two"))

    assert claim is not None
    assert claim.place == ("two",)


def test_of_equal_devices_the_emptiest_is_chosen():
    """Where nobody is disturbed, most free bytes win."""
    more, less = resident(1, 40, device="one"), resident(2, 20, device="two")

    claim = offer(spaces(100, more, less, devices=("one", "two")), newcomer(50, "one", "two"))

    assert claim is not None
    assert claim.place == ("two",)


def spread(num_bytes: int) -> Wish:
    """For a place of two devices, so many bytes on each."""
    place = ("one", "two")
    model = Model("new", Fit(Placement("dense", 16, num_bytes), (place,)))
    return Wish(model, 0.0, (0.0, True, 1), (place,), num_bytes)


def test_victims_are_looked_for_on_every_device_of_a_place():
    """Each device that is short gives up its own; one that lies on both counts on both."""
    here, there = resident(1, 60, device="one"), resident(2, 60, used=0.5, device="two")
    across = resident(3, 40, used=0.9)
    across.place = ("one", "two")

    both = offer(spaces(100, here, there, across, devices=("one", "two")), spread(60))
    beside = offer(spaces(100, here, across, devices=("one", "two")), spread(60))
    whole = offer(spaces(100, here, there, across, devices=("one", "two")), spread(100))

    assert both is not None
    assert both.victims == (here, there)
    assert beside is not None
    assert beside.victims == (here,)
    assert whole is not None
    assert set(whole.victims) == {here, there, across}


def test_one_device_that_is_busy_keeps_a_whole_place_waiting():
    """Nothing is claimed in part: what is idle beside it stays until all can go."""
    busy, idle = resident(1, 60, leases=1, device="one"), resident(2, 60, device="two")
    found = spaces(100, busy, idle, devices=("one", "two"))

    claim = offer(found, spread(60))

    assert claim is not None
    assert set(claim.victims) == {busy, idle}
    assert not claim.is_clear
    found.accept(claim)
    assert offer(found, newcomer(60, "two")) is None
    assert offer(found, newcomer(40, "two")) is not None
