from hypothesis import given
from hypothesis import strategies as st

from engine.kernels.cpu.planning import ALIGNMENT, Lifetime, place

lifetimes = st.lists(
    st.builds(
        lambda first, length, size: Lifetime(first, first + length, size),
        st.integers(0, 30),
        st.integers(0, 10),
        st.integers(0, 1000),
    ),
    max_size=40,
)


@given(lifetimes)
def test_values_that_live_at_one_time_lie_apart(values):
    """No byte has two owners in any step, and every place is aligned and inside."""
    places, total = place(values)
    spans = [(at, at + value.num_bytes) for at, value in zip(places, values, strict=True)]

    for index, (start, end) in enumerate(spans):
        assert start % ALIGNMENT == 0
        assert end <= total
        for other, (begin, stop) in enumerate(spans[:index]):
            apart = end <= begin or stop <= start
            one, two = values[index], values[other]
            assert apart or one.last < two.first or two.last < one.first


def test_memory_is_used_again():
    """A chain of values, each read by the next, takes the room of two."""
    chain = [Lifetime(step, step + 1, 128) for step in range(50)]

    assert place(chain)[1] == 256
