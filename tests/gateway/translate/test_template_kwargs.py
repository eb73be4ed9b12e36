from typing import Any

import pytest

from gateway.errors import InvalidRequest, Unsupported
from gateway.openai.chat import ChatRequest, Message, Reasoning, Thinking
from gateway.translate.template_kwargs import read_template_kwargs


def read(**fields: Any) -> dict[str, Any]:
    return read_template_kwargs(ChatRequest(model="m", messages=[Message("user", "x")], **fields))


def test_every_way_to_say_the_same():
    """Effort and thinking have fields of their own; the explicit kwargs win."""
    assert read() == {}
    assert read(reasoning_effort="none") == {"enable_thinking": False}
    assert read(reasoning_effort="high") == {"reasoning_effort": "high"}
    assert read(enable_thinking=True) == {"enable_thinking": True}
    assert read(enable_thinking=True, chat_template_kwargs={"enable_thinking": False}) == {
        "enable_thinking": False
    }


@pytest.mark.parametrize(
    ("fields", "kwargs"),
    [
        ({"reasoning": Reasoning("low")}, {"reasoning_effort": "low"}),
        ({"reasoning": Reasoning("none")}, {"enable_thinking": False}),
        ({"reasoning": Reasoning("low"), "reasoning_effort": "high"}, {"reasoning_effort": "high"}),
        ({"reasoning": Reasoning(max_tokens=9)}, {"thinking_budget": 9}),
        ({"reasoning": Reasoning(enabled=True)}, {"enable_thinking": True}),
        (
            {"reasoning": Reasoning(enabled=True), "enable_thinking": False},
            {"enable_thinking": False},
        ),
        ({"reasoning": Reasoning(exclude=True)}, {}),
        ({"thinking": Thinking("disabled")}, {"enable_thinking": False}),
        ({"thinking": Thinking("auto")}, {}),
        ({"thinking": True}, {"enable_thinking": True}),
    ],
)
def test_neighbours_words_for_it(fields, kwargs):
    """OpenRouter's object, and DeepSeek's; a field that says it plainly wins."""
    assert read(**fields) == kwargs


@pytest.mark.parametrize(
    "kwargs",
    [{"messages": "x"}, {"unknown": 1}, {"thinking": [1]}, {"date_string": "x" * 257}],
)
def test_the_rest_is_refused(kwargs):
    """A template is a program; what a client may feed it is counted out."""
    with pytest.raises(InvalidRequest, match="chat_template_kwargs"):
        read(chat_template_kwargs=kwargs)


def test_a_template_of_the_clients_is_refused():
    """It would be the client's program on our machine."""
    with pytest.raises(Unsupported):
        read(chat_template="{{ 1 }}")
