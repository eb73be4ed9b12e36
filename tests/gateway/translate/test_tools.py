from typing import Any

import pytest

from engine.api import ToolChoice
from gateway.errors import InvalidRequest, Unsupported
from gateway.openai.chat import ChatRequest, Message
from gateway.translate.tools import MAX_BYTES, MAX_DEPTH, read_choice, read_tools

TOOL = {"type": "function", "function": {"name": "look", "strict": True}}
OTHER = {"type": "function", "function": {"name": "other"}}


def function(**fields: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "look", **fields}}


def request(**fields: Any) -> ChatRequest:
    return ChatRequest(model="m", messages=[Message("user", "x")], **fields)


@pytest.mark.parametrize("tools", [None, []])
def test_none_is_none(tools):
    """Templates ask whether there are tools, and an empty list is one."""
    assert read_tools(request(tools=tools)) is None


def test_tools_stay_as_they_came():
    """With fields that we do not know, for templates that do."""
    assert read_tools(request(tools=[TOOL], tool_choice="auto")) == [TOOL]


def test_choosing_none_hides_them():
    """A model that may call nothing is shown nothing to call."""
    assert read_tools(request(tools=[TOOL], tool_choice="none")) is None


ALLOWED = {"mode": "required", "tools": [{"type": "function", "function": {"name": "look"}}]}


@pytest.mark.parametrize(
    ("fields", "choice"),
    [
        ({}, ToolChoice()),
        ({"tool_choice": "auto", "parallel_tool_calls": False}, ToolChoice(is_parallel=False)),
        ({"tool_choice": "required"}, ToolChoice("required")),
        ({"tool_choice": "none"}, None),
        (
            {"tool_choice": {"type": "function", "function": {"name": "look"}}},
            ToolChoice("required", ("look",), is_parallel=False),
        ),
        (
            {"tool_choice": {"type": "allowed_tools", "allowed_tools": ALLOWED}},
            ToolChoice("required", ("look",)),
        ),
    ],
)
def test_every_way_to_choose(fields, choice):
    """A named tool is called once; without tools nothing is looked for."""
    assert read_choice(request(tools=[TOOL, OTHER], **fields)) == choice
    assert read_choice(request()) is None


def test_tools_that_are_not_allowed_are_not_shown():
    """But a tool is named among all that the model knows."""
    allowed = {"type": "allowed_tools", "allowed_tools": ALLOWED}
    named = {"type": "function", "function": {"name": "look"}}

    assert read_tools(request(tools=[TOOL, OTHER], tool_choice=allowed)) == [TOOL]
    assert read_tools(request(tools=[TOOL, OTHER], tool_choice=named)) == [TOOL, OTHER]


@pytest.mark.parametrize(
    "choice",
    [
        "any",
        {"type": "function", "function": {"name": "unknown"}},
        {"type": "function", "function": {}},
        {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}},
        {"type": "allowed_tools"},
    ],
)
def test_a_choice_that_cannot_be_kept_is_refused(choice):
    """By its own name."""
    with pytest.raises(InvalidRequest) as caught:
        read_choice(request(tools=[TOOL], tool_choice=choice))
    assert caught.value.param == "tool_choice"


def test_a_call_without_tools_is_refused():
    """Nothing could be called."""
    with pytest.raises(InvalidRequest):
        read_choice(request(tool_choice="required"))


def _nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(depth):
        schema = {"properties": {"x": schema}}
    return schema


@pytest.mark.parametrize(
    "parameters", [{"type": "array"}, _nested(MAX_DEPTH), {"description": "x" * MAX_BYTES}]
)
def test_schemas_that_no_call_could_follow_are_refused(parameters):
    """Arguments are an object; what is too large or too deep would cost every request after it."""
    with pytest.raises(InvalidRequest):
        read_tools(request(tools=[function(parameters=parameters)]))


@pytest.mark.parametrize("name", ["a b", 'a"b', "<x>", "f(x)", "a\nb"])
def test_names_are_names(name):
    """Formats of tool calls could not tell where such a one ends."""
    with pytest.raises(InvalidRequest):
        read_tools(request(tools=[function(name=name)]))


@pytest.mark.parametrize("tool", [{}, {"type": "function"}, {"type": "x", "function": {}},
                                  {"type": "function", "function": {"name": ""}}])  # fmt: skip
def test_a_tool_that_is_none_is_refused_by_its_place(tool):
    """Templates would fail on it in their own words."""
    with pytest.raises(InvalidRequest) as caught:
        read_tools(request(tools=[TOOL, tool]))
    assert caught.value.param == "tools[1]"


def test_custom_tools_are_refused():
    """They need a grammar."""
    with pytest.raises(Unsupported):
        read_tools(request(tools=[{"type": "custom", "name": "x"}]))
