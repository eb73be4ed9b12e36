from engine.api import Device
from gateway.pool.ledger import Ledger
from gateway.pool.limits import PoolLimits
from gateway.pool.placement import Fit, Placement
from gateway.pool.room import Claim, Rules, Space, least_disturbing
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
    return Resident(handle, model, device, placement, used, phase, set(range(leases)))


def newcomer(num_bytes: int, *devices: str, since: float = 0.0) -> Wish:
    model = Model("new", Fit(Placement("dense", 16, num_bytes), devices or ("one",)))
    return Wish(model, since, (since, True, 1), model.fit.devices, num_bytes)


def space(
    budget: int, *residents: Resident, device: str = "one", now: float = 1.0, pausing: bool = False
) -> Space:
    ledger = Ledger([Device(device, budget)])
    for each in residents:
        ledger.hold(device, each.handle, each.bytes)
    timing = Timing(PoolLimits(max_wait_seconds=2.0, pausing=pausing))
    return Space(device, ledger, residents, Rules(timing, now))


def claim_room(spaces: list[Space], wish: Wish) -> Claim | None:
    offers = [(space, space.offer(wish)) for space in spaces]
    return least_disturbing([(space, claim) for space, claim in offers if claim is not None])


def test_what_fits_beside_the_others_disturbs_nobody():
    """Free bytes are used before anyone is evicted."""
    claim = space(100, resident(1, 40)).offer(newcomer(60))

    assert claim is not None
    assert claim.fits_now
    assert not claim.victims


def test_bytes_on_their_way_out_are_waited_for():
    """What is being evicted counts as room to come: nobody else is evicted for it."""
    leaving = resident(1, 60, phase=Phase.EVICTING)
    claim = space(100, leaving, resident(2, 40)).offer(newcomer(60))

    assert claim is not None
    assert claim.is_clear
    assert not claim.fits_now
    assert not claim.victims


def test_room_that_is_still_busy_is_claimed_and_waited_for():
    """A newcomer's claim stands from the start, so that nobody who comes later takes its room."""
    busy = resident(1, 100, leases=1)

    claim = space(100, busy).offer(newcomer(50))

    assert claim is not None
    assert claim.victims == (busy,)
    assert not claim.is_clear


def test_a_busy_model_can_go_past_max_wait_if_it_may_be_paused():
    """Then the claim is clear: no request has to end first."""
    busy = resident(1, 100, leases=1)

    early = space(100, busy, now=1.9, pausing=True).offer(newcomer(50))
    late = space(100, busy, now=2.0, pausing=True).offer(newcomer(50))

    assert early is not None
    assert not early.is_clear
    assert late is not None
    assert late.is_clear


def test_a_later_claim_cannot_take_what_an_earlier_one_waits_for():
    """The bytes of an earlier claim are not offered again; what it leaves over is."""
    busy = resident(1, 70, leases=1)
    room = space(100, busy)
    first = room.offer(newcomer(80))
    assert first is not None

    room.accept(first)

    assert room.offer(newcomer(30)) is None
    beside = room.offer(newcomer(20))
    assert beside is not None
    assert beside.fits_now


def test_an_idle_model_is_not_evicted_for_room_that_is_still_busy():
    """Bytes that an earlier claim leaves over are not there before its victims have drained."""
    busy, idle = resident(1, 100, leases=1), resident(2, 30)
    room = space(130, busy, idle)
    first = room.offer(newcomer(60))
    assert first is not None
    room.accept(first)

    later = room.offer(newcomer(60))

    assert later is not None
    assert not later.is_clear


def test_the_device_that_is_disturbed_least_is_chosen():
    """An idle victim on one device is preferred to a busy one on another."""
    busy = space(100, resident(1, 100, leases=1, device="one"), device="one")
    idle = space(100, resident(2, 100, device="two"), device="two")

    claim = claim_room([busy, idle], newcomer(50, "one", "two"))

    assert claim is not None
    assert claim.device == "two"


def test_of_equal_devices_the_emptiest_is_chosen():
    """Where nobody is disturbed, most free bytes win."""
    fuller = space(100, resident(1, 40, device="one"), device="one")
    emptier = space(100, resident(2, 20, device="two"), device="two")

    claim = claim_room([fuller, emptier], newcomer(50, "one", "two"))

    assert claim is not None
    assert claim.device == "two"
