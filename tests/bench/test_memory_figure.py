from itertools import pairwise

from memory_figure import TARGET, curves, svg


def test_the_figure_is_what_families_declare() -> None:
    """docs/recurrent-memory.svg is drawn anew when a cache changes."""
    assert TARGET.read_text() == svg(curves())


def test_states_do_not_grow() -> None:
    """Of a model that keeps states alone, a sequence takes the same bytes whatever its length."""
    attention, hybrid, recurrent = curves()

    assert recurrent.at(2**18) == recurrent.at(1) > 0
    assert attention.at(2**18) == 2**18 * attention.at(1)
    assert all(one < other for one, other in pairwise([hybrid.at(1), hybrid.at(2), hybrid.at(3)]))
