"""Which tools' schemas are checked before anything else is done."""

import json

import pytest

from engine.api import ChatPrompt, Generation, ToolChoice
from gateway.translate.job import Job
from gateway.translate.tool_grammars import tool_grammars

SCHEMA = {"type": "object", "properties": {"a": {"uniqueItems": True}}}
TOOLS = [
    {"function": {"name": "loose", "parameters": SCHEMA}},
    {"function": {"name": "strict", "parameters": SCHEMA, "strict": True}},
    {"function": {"name": "bare"}},
]


def found(choice: ToolChoice | None) -> dict[str, bool]:
    """Names, and whether what is not known of their schemas is passed over."""
    prompt = ChatPrompt([{"role": "user", "content": "hi"}], tools=TOOLS)
    job = Job((prompt,), Generation(9, tools=choice), "messages")
    grammars = {name: json.loads(grammar.text) for name, grammar in tool_grammars(job)}
    return {name: schema["x-guidance"]["lenient"] for name, schema in grammars.items()}


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        (None, {}),
        (ToolChoice("auto"), {"strict": False}),
        (ToolChoice("required"), {"loose": True, "strict": False}),
        (ToolChoice("required", ("loose",)), {"loose": True, "strict": False}),
    ],
)
def test_what_calls_are_held_to_is_checked(choice, names):
    """Strict tools always, to the last keyword; others where they must be called."""
    assert found(choice) == names
