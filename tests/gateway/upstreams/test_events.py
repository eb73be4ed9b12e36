import itertools

from hypothesis import given
from hypothesis import strategies as st

from gateway.upstreams.events import DONE, Events

STREAM = (
    b": hello\r\n\r\nevent: x\r\nid: 3\r\ndata: one\r\n\r\n"
    b"data:two\ndata: and more\n\n\n: still here\n\ndata: [DONE]\r\rdata: cut"
)
EVENTS = [b"one", b"two\nand more", DONE]


@given(st.lists(st.integers(0, len(STREAM))))
def test_however_a_stream_is_cut(cuts: list[int]):
    """Events are the same whatever pieces they come in, and a half one at the end is none."""
    places = [0, *sorted(cuts), len(STREAM)]
    pieces = [STREAM[a:b] for a, b in itertools.pairwise(places)]
    events = Events()

    assert [event for piece in pieces for event in events.add(piece)] == EVENTS
