from gateway.pool.placement import Fit, Placement
from gateway.pool.state import Model, Phase, Resident
from gateway.pool.victims import choose_victims, cost_aware, decayed_uses


def resident(
    handle: int, num_bytes: int, used: float = 0.0, leases: int = 0, phase: Phase = Phase.READY
) -> Resident:
    placement = Placement("dense", 16, num_bytes)
    return Resident(handle, f"model {handle}", ("one",), placement, used, phase, set(range(leases)))


def model(each: Resident, uses: float, load_seconds: float | None) -> Model:
    fit = Fit(each.placement, (("one",),))
    return Model(each.model, fit, uses=uses, load_seconds=load_seconds)


def test_nobody_is_a_victim_when_nothing_is_short():
    """No shortage, no victims."""
    assert choose_victims([resident(1, 10)], {"one": 0}) == ()


def test_the_least_recently_used_goes_first():
    """Among idle models, the one used longest ago."""
    old, recent = resident(1, 10, used=1.0), resident(2, 10, used=2.0)

    assert choose_victims([recent, old], {"one": 10}) == (old,)


def test_idle_models_go_before_busy_ones():
    """An idle model used a moment ago goes before a busy one; one that loads goes last."""
    busy = resident(1, 10, used=1.0, leases=1)
    loading = resident(2, 10, used=0.0, phase=Phase.LOADING)
    idle = resident(3, 10, used=9.0)

    assert choose_victims([busy, loading, idle], {"one": 20}) == (idle, busy)


def test_what_drains_already_goes_before_what_is_open():
    """Draining is not given up for another model that would have to be drained from the start."""
    draining = resident(1, 10, used=9.0, leases=1, phase=Phase.DRAINING)
    open_one = resident(2, 10, used=1.0, leases=1)

    assert choose_victims([open_one, draining], {"one": 10}) == (draining,)


def test_superfluous_victims_are_spared():
    """A small victim is spared when a larger one, needed anyway, is enough."""
    small, large = resident(1, 10, used=1.0), resident(2, 100, used=2.0)

    assert choose_victims([small, large], {"one": 100}) == (large,)


def test_too_few_bytes_make_no_victims():
    """If all together are not enough, none is chosen."""
    assert choose_victims([resident(1, 10), resident(2, 10)], {"one": 21}) is None


def test_cost_aware_choice_spares_what_is_missed_most():
    """Seconds to reload x how often it is used, by byte: the least goes, whenever it was used."""
    rare, often = resident(1, 10, used=9.0), resident(2, 10, used=1.0)
    models = {"model 1": model(rare, 1.0, 1.0), "model 2": model(often, 5.0, 1.0)}

    assert choose_victims([rare, often], {"one": 10}, cost_aware(models, 10.0)) == (rare,)


def test_cost_aware_choice_lets_go_what_comes_back_soon():
    """Of two that are used alike, the one that is quick to reload goes."""
    slow, quick = resident(1, 10, used=1.0), resident(2, 10, used=9.0)
    models = {"model 1": model(slow, 2.0, 30.0), "model 2": model(quick, 2.0, 0.5)}

    assert choose_victims([slow, quick], {"one": 10}, cost_aware(models, 10.0)) == (quick,)


def test_uses_fade():
    """What was used long ago counts half every ten minutes."""
    each = model(resident(1, 10), 8.0, None)

    assert decayed_uses(each, 1200.0) == 2.0
