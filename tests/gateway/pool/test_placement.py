import msgspec
import pytest

from engine.api import Device, Footprint, ModelCard
from gateway.pool.placement import Fit, Placement, TooLarge, fit, plan
from tests.gateway.fakes import make_card

DENSE = Footprint("dense", weights_bytes=1000, kv_bytes_per_token=1, workspace_bytes=100)
PACKED = Footprint("packed", weights_bytes=300, kv_bytes_per_token=1, workspace_bytes=100)
CARD = make_card("m", footprints=(DENSE, PACKED), context_length=4096)


def test_the_preferred_form_is_used_when_it_fits():
    """With room for everything, the first footprint gets the whole context."""
    assert plan(CARD, 10_000, None) == Placement("dense", 4096, 1000 + 100 + 4096)


def test_the_context_is_what_the_budget_leaves_in_whole_blocks():
    """The cache takes what weights and workspace leave, rounded down to 16 tokens."""
    budget = 1100 + 3000

    assert plan(CARD, budget, None) == Placement("dense", 2992, 1100 + 2992)


def test_a_form_that_leaves_too_little_context_is_passed_over():
    """Below 2048 tokens of cache the next form is taken, and given all it can have."""
    budget = 1100 + 2047

    assert plan(CARD, budget, None) == Placement("packed", 2736, 400 + 2736)


def test_the_least_context_fits_exactly():
    """A budget that holds exactly 2048 tokens is enough for the preferred form."""
    assert plan(CARD, 1100 + 2048, None) == Placement("dense", 2048, 1100 + 2048)


def test_what_can_never_fit_says_how_much_it_needs():
    """The bytes needed are those of the smallest form with the least context."""
    assert plan(CARD, 2000, None) == TooLarge(needed=400 + 2048, available=2000)


def test_a_configured_context_bounds_the_models_own():
    """max_context shortens the cache, and with it what is needed at least."""
    assert plan(CARD, 1700, 512) == Placement("dense", 512, 1100 + 512)


def test_a_short_model_needs_no_more_than_its_own_context():
    """A context below 2048 tokens is held whole, in whole blocks."""
    card = make_card("m", footprints=(DENSE,), context_length=100)

    assert plan(card, 1200, None) == Placement("dense", 96, 1196)


@pytest.mark.parametrize("budget", range(2448, 6000, 97))
def test_a_placement_never_exceeds_its_budget(budget: int):
    """Whatever the budget, the bytes planned are within it and agree with the footprint."""
    placement = plan(CARD, budget, None)

    assert isinstance(placement, Placement)
    footprint = DENSE if placement.form == "dense" else PACKED
    assert placement.bytes == footprint.total(placement.kv_tokens) <= budget
    assert placement.kv_tokens % 16 == 0


def test_only_devices_that_give_the_same_are_kept():
    """The context promised is that of the best device, so a smaller one is no place for it."""
    devices = [Device("small", 4000), Device("large", 9000), Device("twin", 9000)]

    found = fit(CARD, devices, None, [("small",), ("large",), ("twin",)])

    assert found == Fit(Placement("dense", 4096, 5196), (("large",), ("twin",)))


def test_what_fits_no_device_is_told_of_the_largest():
    """A refusal names the bytes of the largest device."""
    devices = [Device("small", 500), Device("large", 900)]

    found = fit(CARD, devices, None, [("small",), ("large",)])

    assert found == TooLarge(needed=2448, available=900)


PLANES = Footprint("planes", 800, 1, 300, kind="cuda")
BOTH = make_card("m", footprints=(PLANES, DENSE, PACKED), context_length=4096)
GPUS = [Device("cuda:0", 9000, "cuda"), Device("cuda:1", 9000, "cuda")]
CPU = Device("cpu", 9000)


def test_each_kind_of_device_has_forms_of_its_own():
    """And the kind whose forms come first is preferred, whatever else has room."""
    found = fit(BOTH, [CPU, *GPUS], None, [("cpu",), ("cuda:0",), ("cuda:1",)])

    assert found == Fit(Placement("planes", 4096, 5196), (("cuda:0",), ("cuda:1",)))


def test_what_is_too_large_for_a_gpu_goes_over_two_before_the_cpu():
    """Several of the preferred kind, then one of another."""
    small = [msgspec.structs.replace(gpu, memory_bytes=2900) for gpu in GPUS]
    places = [("cpu",), ("cuda:0",), ("cuda:1",), ("cuda:0", "cuda:1")]

    spread = fit(BOTH, [CPU, *small], None, places)
    alone = fit(BOTH, [CPU, *small], None, places[:3])

    assert isinstance(spread, Fit)
    assert spread.placement.form == "planes"
    assert alone == Fit(Placement("dense", 4096, 5196), (("cpu",),))


def test_devices_of_two_kinds_hold_nothing_together():
    small = [Device("cpu", 1500), Device("cuda:0", 1500, "cuda")]

    assert isinstance(fit(BOTH, small, None, [("cpu", "cuda:0")]), TooLarge)


RECURRENT = Footprint(
    "dense",
    weights_bytes=1000,
    kv_bytes_per_token=0,
    workspace_bytes=100,
    state_bytes_per_sequence=50,
)
HYBRID = msgspec.structs.replace(RECURRENT, kv_bytes_per_token=1)


def recurrent_card(*footprints: Footprint) -> ModelCard:
    return make_card("m", footprints=footprints, context_length=4096)


def test_a_recurrent_models_context_costs_nothing():
    """It is promised whole, and memory goes to slots: two, and a quarter of what those leave."""
    card = recurrent_card(RECURRENT)

    assert plan(card, 1200, None) == Placement("dense", 4096, 1200, state_slots=2)
    assert plan(card, 1200 + 399, None) == Placement("dense", 4096, 1250, state_slots=3)
    assert plan(card, 1200 + 400, None) == Placement("dense", 4096, 1300, state_slots=4)


def test_no_more_slots_are_made_than_there_is_use_for():
    """However large the budget, it is not filled with states."""
    placement = plan(recurrent_card(RECURRENT), 10**6, None)

    assert isinstance(placement, Placement)
    assert placement.state_slots == 64


def test_one_slot_is_enough_where_two_do_not_fit():
    """A model that can run one sequence at a time is not too large."""
    card = recurrent_card(RECURRENT)

    assert plan(card, 1199, None) == Placement("dense", 4096, 1150, state_slots=1)
    assert plan(card, 1149, None) == TooLarge(needed=1150, available=1149)


def test_two_slots_are_worth_a_smaller_form():
    """The preferred form with one slot comes after every form with two."""
    packed = msgspec.structs.replace(RECURRENT, form="packed", weights_bytes=300)

    assert plan(recurrent_card(RECURRENT, packed), 1199, None) == Placement(
        "packed", 4096, 400 + 5 * 50, state_slots=5
    )


def test_a_hybrid_shares_what_is_left():
    """States get a quarter of what is beyond the least of both; tokens get the rest."""
    least = 1100 + 2 * 50 + 2048

    assert plan(recurrent_card(HYBRID), least + 1000, None) == Placement(
        "dense", 2048 + 736, least + 5 * 50 + 736, state_slots=7
    )


@pytest.mark.parametrize("budget", range(1150, 12_000, 97))
@pytest.mark.parametrize("footprint", [RECURRENT, HYBRID], ids=["recurrent", "hybrid"])
def test_slots_never_exceed_the_budget(budget: int, footprint: Footprint):
    """Whatever the budget, states and tokens together are within it, and at least one slot."""
    placement = plan(recurrent_card(footprint), budget, None)

    if isinstance(placement, TooLarge):
        assert budget < footprint.total(2048, 1)
    else:
        expected = footprint.total(placement.kv_tokens, placement.state_slots)
        assert placement.bytes == expected <= budget
        assert 1 <= placement.state_slots <= 64
