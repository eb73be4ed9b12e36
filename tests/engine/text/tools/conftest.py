from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest

from engine.api import ToolChoice
from engine.text.chat_format import ChatFormat, ChatParser, read_tools
from engine.text.reasoning import ThinkTags
from engine.text.tools.events import Argued, Called, Said, Thought
from engine.text.tools.formats import GENERIC, ToolFormat

WEATHER = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer"},
        "where": {"type": "object", "properties": {"at": {"type": "array"}}},
    },
    "required": ["city"],
}
TOOLS = [
    {"type": "function", "function": {"name": "get_weather", "parameters": WEATHER}},
    {"type": "function", "function": {"name": "get-time"}},
]


@dataclass(frozen=True)
class Answer:
    """What a parser made of a text. calls: name, the model's own id, and arguments as text."""

    said: str = ""
    thought: str = ""
    calls: list[tuple[str, str | None, str]] = field(default_factory=list)


def parse(form: ChatFormat, pieces: Iterable[str], choice: ToolChoice | None) -> Answer:
    parser = ChatParser(form, choice, splits_thought=True)
    events = [event for piece in pieces for event in parser.feed(piece)] + parser.finish()
    calls: list[tuple[str, str | None, str]] = []
    for event in events:
        if isinstance(event, Called):
            calls.append((event.name, event.id, ""))
        elif isinstance(event, Argued):
            name, id_, text = calls.pop()
            calls.append((name, id_, text + event.text))
    said = "".join(event.text for event in events if isinstance(event, Said))
    thought = "".join(event.text for event in events if isinstance(event, Thought))
    return Answer(said, thought, calls)


@pytest.fixture
def read() -> Callable[..., Answer]:
    """Parses a text as a model with two tools would have written it, whole or in pieces."""

    def read(
        form: ToolFormat,
        *pieces: str,
        mode: Any = None,
        thinking: ThinkTags | None = None,
        is_open: bool = False,
    ) -> Answer:
        chat = ChatFormat(form, thinking, is_open, read_tools(TOOLS))
        mode = mode or ("required" if form is GENERIC else "auto")
        return parse(chat, pieces, ToolChoice(mode))

    return read
