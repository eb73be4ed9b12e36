from engine.api import Device
from gateway.pool.ledger import Ledger
from gateway.pool.placement import Fit, Placement
from gateway.pool.room import Space, choose_victims, claim_room
from gateway.pool.state import Model, Phase, Resident


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


def newcomer(num_bytes: int, *devices: str) -> Model:
    return Model("new", Fit(Placement("dense", 16, num_bytes), devices or ("one",)))


def space(budget: int, *residents: Resident, device: str = "one") -> Space:
    ledger = Ledger([Device(device, budget)])
    for each in residents:
        ledger.hold(device, each.handle, each.placement.bytes)
    return Space(device, ledger, residents)


def test_nobody_is_a_victim_when_nothing_is_short():
    """No shortage, no victims."""
    assert choose_victims([resident(1, 10)], 0) == ()


def test_the_least_recently_used_goes_first():
    """Among idle models, the one used longest ago."""
    old, recent = resident(1, 10, used=1.0), resident(2, 10, used=2.0)

    assert choose_victims([recent, old], 10) == (old,)


def test_idle_models_go_before_busy_ones():
    """An idle model used a moment ago goes before a busy one; one that loads goes last."""
    busy = resident(1, 10, used=1.0, leases=1)
    loading = resident(2, 10, used=0.0, phase=Phase.LOADING)
    idle = resident(3, 10, used=9.0)

    assert choose_victims([busy, loading, idle], 20) == (idle, busy)


def test_what_drains_already_goes_before_what_is_open():
    """Draining is not given up for another model that would have to be drained from the start."""
    draining = resident(1, 10, used=9.0, leases=1, phase=Phase.DRAINING)
    open_one = resident(2, 10, used=1.0, leases=1)

    assert choose_victims([open_one, draining], 10) == (draining,)


def test_superfluous_victims_are_spared():
    """A small victim is spared when a larger one, needed anyway, is enough."""
    small, large = resident(1, 10, used=1.0), resident(2, 100, used=2.0)

    assert choose_victims([small, large], 100) == (large,)


def test_too_few_bytes_make_no_victims():
    """If all together are not enough, none is chosen."""
    assert choose_victims([resident(1, 10), resident(2, 10)], 21) is None


def test_what_fits_beside_the_others_disturbs_nobody():
    """Free bytes are used before anyone is evicted."""
    claim = space(100, resident(1, 40)).offer(newcomer(60), may_close=True)

    assert claim is not None
    assert claim.fits_now
    assert not claim.victims


def test_bytes_on_their_way_out_are_waited_for():
    """What is being evicted counts as room to come: nobody else is evicted for it."""
    leaving = resident(1, 60, phase=Phase.EVICTING)
    claim = space(100, leaving, resident(2, 40)).offer(newcomer(60), may_close=False)

    assert claim is not None
    assert claim.is_clear
    assert not claim.fits_now
    assert not claim.victims


def test_busy_models_make_room_only_when_they_may_be_closed():
    """Before its time is up, a newcomer gets nothing from a busy model."""
    busy = resident(1, 100, leases=1)

    assert space(100, busy).offer(newcomer(50), may_close=False) is None
    claim = space(100, busy).offer(newcomer(50), may_close=True)
    assert claim is not None
    assert claim.victims == (busy,)
    assert not claim.is_clear


def test_a_later_claim_cannot_take_what_an_earlier_one_waits_for():
    """The bytes of an earlier claim are not offered again; what it leaves over is."""
    busy = resident(1, 70, leases=1)
    room = space(100, busy)
    first = room.offer(newcomer(80), may_close=True)
    assert first is not None

    room.accept(first)

    assert room.offer(newcomer(30), may_close=True) is None
    beside = room.offer(newcomer(20), may_close=False)
    assert beside is not None
    assert beside.fits_now


def test_an_idle_model_is_not_evicted_for_room_that_is_still_busy():
    """Bytes that an earlier claim leaves over are not there before its victims have drained."""
    busy, idle = resident(1, 100, leases=1), resident(2, 30)
    room = space(130, busy, idle)
    first = room.offer(newcomer(60), may_close=True)
    assert first is not None
    room.accept(first)

    assert room.offer(newcomer(60), may_close=False) is None


def test_the_device_that_is_disturbed_least_is_chosen():
    """An idle victim on one device is preferred to a busy one on another."""
    busy = space(100, resident(1, 100, leases=1, device="one"), device="one")
    idle = space(100, resident(2, 100, device="two"), device="two")

    claim = claim_room([busy, idle], newcomer(50, "one", "two"), may_close=True)

    assert claim is not None
    assert claim.device == "two"


def test_of_equal_devices_the_emptiest_is_chosen():
    """Where nobody is disturbed, most free bytes win."""
    fuller = space(100, resident(1, 40, device="one"), device="one")
    emptier = space(100, resident(2, 20, device="two"), device="two")

    claim = claim_room([fuller, emptier], newcomer(50, "one", "two"), may_close=False)

    assert claim is not None
    assert claim.device == "two"
