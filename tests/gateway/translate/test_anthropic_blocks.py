from hypothesis import given, settings
from hypothesis import strategies as st

from engine.api import Delta, ToolCallDelta
from gateway.anthropic.replies import BlockDelta, BlockStart, BlockStop, Text, Thinking, ToolUse
from gateway.translate.anthropic_blocks import Blocks

WORDS = st.sampled_from(["a", "b ", "{}"])


@st.composite
def replies(draw) -> list[Delta]:
    """Thoughts, texts and calls in any order; a call's pieces come one after the other."""
    deltas = []
    num_calls = 0
    for kind in draw(st.lists(st.sampled_from(["thought", "text", "call", "more"]), max_size=12)):
        word = draw(WORDS)
        if kind == "thought":
            deltas.append(Delta(0, reasoning=word))
        elif kind == "text":
            deltas.append(Delta(0, word))
        elif kind == "call":
            call = ToolCallDelta(num_calls, f"call_{num_calls}", "look", word)
            deltas.append(Delta(0, tool_calls=[call]))
            num_calls += 1
        elif deltas and deltas[-1].tool_calls:
            more = ToolCallDelta(num_calls - 1, arguments=word)
            deltas.append(Delta(0, tool_calls=[more]))
    return deltas


def grown(events: list[BlockDelta]) -> str:
    """What the deltas of one block say together, its signature aside."""
    fields = ("text", "thinking", "partial_json")
    return "".join(getattr(e.delta, name, "") for e in events for name in fields)


@given(replies())
@settings(max_examples=60, deadline=None)
def test_blocks_begin_grow_and_end_one_by_one(deltas):
    """Indices count up, no two are open, and their deltas add up to the whole message's content."""
    blocks = Blocks(shows_thinking=True)
    events = [event for delta in deltas for event in blocks.add(delta)] + blocks.close()

    place, said = -1, []
    is_open = False
    for event in events:
        if isinstance(event, BlockStart):
            assert not is_open
            place, is_open = place + 1, True
            said.append([])
        assert is_open
        assert event.index == place
        if isinstance(event, BlockDelta):
            said[-1].append(event)
        is_open = is_open and not isinstance(event, BlockStop)
    assert not is_open
    for block, pieces in zip(blocks.content, map(grown, said), strict=True):
        if isinstance(block, Text):
            assert block.text == pieces
        if isinstance(block, Thinking):
            assert block.thinking == pieces


def test_arguments_that_were_cut_off_are_none():
    """Half of them may mean something else than the whole."""
    blocks = Blocks(shows_thinking=True)
    blocks.add(Delta(0, tool_calls=[ToolCallDelta(0, "c", "look", '{"path": "/etc')]))

    assert blocks.content == [ToolUse("c", "look", {})]
