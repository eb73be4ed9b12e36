from typing import Any

import pytest

from gateway.errors import InvalidRequest, Unsupported
from gateway.openai.chat import ChatRequest, Message
from gateway.translate.tools import read_tools

TOOL = {"type": "function", "function": {"name": "look", "strict": True}}


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


@pytest.mark.parametrize("choice", ["required", "any", {"type": "function", "function": {}}])
def test_a_choice_that_must_be_kept_is_refused(choice):
    """Until calls are parsed, nothing could keep it."""
    with pytest.raises(Unsupported):
        read_tools(request(tools=[TOOL], tool_choice=choice))


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
