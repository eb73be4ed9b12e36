from engine.api import Delta, ToolCallDelta, Usage
from gateway.translate.calls import Calls


def test_a_call_is_whole_when_the_next_begins_or_the_reply_ends():
    """Each is given once, with all of its arguments."""
    calls = Calls()
    began = calls.add(Delta(0, tool_calls=[ToolCallDelta(0, "a", "look", '{"x"')]))
    went_on = calls.add(
        Delta(0, tool_calls=[ToolCallDelta(0, arguments=":1}"), ToolCallDelta(1, "b", "nop")])
    )
    ended = calls.add(Delta(0, finish_reason="tool_calls", usage=Usage(1, 1)))

    assert began == []
    assert [(call.id, call.name, call.arguments) for call in went_on] == [("a", "look", {"x": 1})]
    assert [(call.id, call.name, call.arguments) for call in ended] == [("b", "nop", {})]


def test_arguments_that_were_cut_off_are_none():
    """Half of them may mean something else than the whole."""
    calls = Calls()
    calls.add(Delta(0, tool_calls=[ToolCallDelta(0, "a", "look", '{"x": "/et')]))
    (call,) = calls.add(Delta(0, finish_reason="length", usage=Usage(1, 1)))

    assert call.arguments == {}
