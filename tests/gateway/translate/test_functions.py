from typing import Any

import pytest

from gateway.errors import InvalidRequest
from gateway.openai.chat import ChatRequest, Message, NamedFunction
from gateway.translate.functions import with_tools

LOOK = {"name": "look", "parameters": {"type": "object"}}


def request(**fields: Any) -> ChatRequest:
    return ChatRequest(model="m", messages=[Message("user", "x")], **fields)


@pytest.mark.parametrize(
    ("wanted", "choice"),
    [
        (None, None),
        ("none", "none"),
        ("auto", "auto"),
        (NamedFunction("look"), {"type": "function", "function": {"name": "look"}}),
    ],
)
def test_functions_are_tools(wanted, choice):
    """Of which one call is made at most."""
    asked = with_tools(request(functions=[LOOK], function_call=wanted))

    assert asked.tools == [{"type": "function", "function": LOOK}]
    assert (asked.tool_choice, asked.parallel_tool_calls) == (choice, False)
    assert (asked.functions, asked.function_call) == (None, None)


def test_what_has_no_functions_stays():
    """A choice among none is none."""
    plain = request(tools=[{"type": "function", "function": LOOK}], function_call="auto")

    assert with_tools(plain).tools == plain.tools


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"functions": [LOOK], "tools": [{"type": "function", "function": LOOK}]}, "functions"),
        ({"functions": [LOOK], "tool_choice": "auto"}, "functions"),
        ({"functions": [{"parameters": {}}]}, "functions[0]"),
        ({"functions": [LOOK], "function_call": NamedFunction("no")}, "function_call"),
        ({"function_call": NamedFunction("look")}, "function_call"),
    ],
)
def test_what_contradicts_is_refused_in_the_old_words(fields, param):
    """The field that the client sent is named, not the one that it became."""
    with pytest.raises(InvalidRequest) as caught:
        with_tools(request(**fields))

    assert caught.value.param == param
