"""Who has which units: exactly, by the best fit, and where it was before."""

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.residency.arena_plan import ArenaPlan, Place

UNITS = 64

takes = st.tuples(
    st.integers(0, 7),
    st.lists(st.integers(0, 20), min_size=1, max_size=4),
)
histories = st.lists(st.one_of(takes, st.integers(0, 20)), max_size=60)


def units_of(place: Place) -> list[int]:
    return [unit for start, end in place.extents for unit in range(start, end)]


@settings(max_examples=100, deadline=None)
@given(histories)
def test_every_unit_is_free_or_given_once(history):
    """Whatever is taken and given back, in any order; what does not fit changes nothing."""
    plan, given_out = ArenaPlan(UNITS), list[Place]()
    for event in history:
        if isinstance(event, int):
            if given_out:
                plan.free(given_out.pop(event % len(given_out)))
        else:
            key, pieces = event
            before, free = plan.num_free, plan.largest_hole
            place = plan.take(key, sum(pieces), pieces)
            if place is None:
                assert plan.num_free == before
                assert sum(pieces) > free, "one hole would have held it"
            else:
                assert place.num_units == sum(pieces)
                assert len(place.extents) in {1, len(pieces)}
                given_out.append(place)
        plan.check()
        units = [unit for place in given_out for unit in units_of(place)]
        assert len(set(units)) == len(units)
        assert all(0 <= unit < UNITS for unit in units)
        assert plan.num_free == UNITS - len(units)


@settings(max_examples=60, deadline=None)
@given(histories)
def test_a_generation_is_one_key_at_one_place(history):
    """So that what was recorded over its addresses holds if and only if the number is the same."""
    plan, given_out = ArenaPlan(UNITS), list[Place]()
    seen: dict[int, tuple[object, object]] = {}
    for event in history:
        if isinstance(event, int):
            if given_out:
                plan.free(given_out.pop(event % len(given_out)))
        elif place := plan.take(event[0], sum(event[1]), event[1]):
            given_out.append(place)
            assert seen.setdefault(place.generation, (place.key, place.extents)) == (
                place.key,
                place.extents,
            )


@given(st.lists(st.integers(1, 10), min_size=1, max_size=6), st.randoms())
def test_who_comes_back_is_where_it_was(sizes, chance):
    """If nobody was given its place meanwhile; also into a larger hole, and out of order."""
    plan = ArenaPlan(UNITS)
    places = [plan.take(key, size) for key, size in enumerate(sizes)]
    away = chance.sample(range(len(sizes)), k=chance.randint(1, len(sizes)))
    for key in away:
        plan.free(places[key])
    chance.shuffle(away)

    for key in away:
        assert plan.take(key, sizes[key]) is places[key]


def test_the_smallest_hole_that_fits_is_taken():
    """Larger ones are left for what needs them."""
    plan = ArenaPlan(20)
    places = {key: plan.take(key, size) for key, size in zip("abcde", (6, 1, 3, 1, 9), strict=True)}
    for key in "ace":
        plan.free(places[key])

    assert plan.take("f", 3).extents == ((7, 10),)
    assert plan.take("g", 5).extents == ((0, 5),)


def test_pieces_find_their_way_into_several_holes():
    """Where no hole holds all of them; none of them is cut."""
    plan = ArenaPlan(20)
    places = {key: plan.take(key, size) for key, size in zip("abcde", (6, 1, 6, 1, 6), strict=True)}
    for key in "ace":
        plan.free(places[key])

    assert plan.take("f", 16, [8, 8]) is None
    found = plan.take("g", 14, [6, 3, 5])
    assert sorted(end - start for start, end in found.extents) == [3, 5, 6]
    assert [end - start for start, end in found.extents] == [6, 3, 5]
    plan.check()


def test_two_of_one_key_are_apart():
    """A checkpoint may be open twice; both places are then somebody's."""
    plan = ArenaPlan(20)
    one, other = plan.take("a", 4), plan.take("a", 4)
    assert one.generation != other.generation

    plan.free(one)
    assert plan.take("a", 4).extents == one.extents
    plan.check()


def test_nothing_fits_anywhere():
    """Also where all is taken."""
    plan = ArenaPlan(4)
    plan.take("all", 4)

    assert plan.take("none", 0).num_units == 0
    assert plan.take("one", 1) is None
