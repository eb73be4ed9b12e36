"""GPT-OSS's Harmony: messages in channels, some of them thought and some of them calls.

Source: OpenAI's Harmony response format. Tokens that end the whole reply never reach the text.
"""

import re
from dataclasses import dataclass

from engine.text.tools import json_text
from engine.text.tools.lark import Calls, Lark, Tool
from engine.text.tools.reader import NotACallError, Parse, Reader

_START, _CHANNEL, _MESSAGE, _END = "<|start|>", "<|channel|>", "<|message|>", "<|end|>"
_CALL, _RETURN, _CONSTRAIN = "<|call|>", "<|return|>", "<|constrain|>"
_ENDS = (_END, _CALL, _RETURN)
MARKERS = (*_ENDS, _START, _CHANNEL, _MESSAGE, _CONSTRAIN)
MAX_HEADER = 256
_RECIPIENT = re.compile(r"to=(?:functions\.)?([\w.-]+)")


@dataclass(frozen=True, slots=True)
class HarmonyCalls:
    """`<|channel|>commentary to=functions.name <|constrain|>json<|message|>{...}<|call|>`.

    Its reasoning is the analysis channel, so it reads that too.
    """

    @property
    def opening(self) -> str:
        return ""

    def parse(self, reader: Reader) -> Parse[None]:
        opening: str | None = ""  # the prompt has ended in `<|start|>assistant`
        while opening is not None:
            header: list[str] = []
            yield from reader.attempt(_read_header(reader, opening, header), opening)
            opening = yield from _read_body(reader, "".join(header))

    def grammar(self, lark: Lark, calls: Calls) -> str:
        one = " | ".join(_rule(lark, tool) for tool in calls.tools)
        return f"{_thinking(lark)}? ({one})"

    def preface(self, lark: Lark) -> str:
        """What comes before the words of an answer: thoughts, and the channel that it is said in."""
        return f'{_thinking(lark)}? {lark.mark(_CHANNEL)} "final" {lark.mark(_MESSAGE)}'


def _read_header(reader: Reader, opening: str, header: list[str]) -> Parse[None]:
    """What stands between a message's opening and its body; empty if it is no message."""
    if not opening:
        yield from reader.space()
        header.append((yield from reader.expect(_CHANNEL, "to=")))
    rest = yield from reader.run_until(_MESSAGE, MAX_HEADER)
    header.append(rest)


def _read_body(reader: Reader, header: str) -> Parse[str | None]:
    """Reads one message; returns what opens the next, None at the end."""
    name = _RECIPIENT.search(header)
    out = reader.think if "analysis" in header and reader.splits_thought else reader.say
    if name is not None and name[1] in reader.tools:
        yield from reader.attempt(_read_call(reader, name[1]))
        out = reader.say
    found = yield from reader.scan(out, *_ENDS, _START, _CHANNEL)
    while found in _ENDS:
        found = yield from reader.scan(reader.say, *_ENDS, _START, _CHANNEL)
    return found


def _read_call(reader: Reader, name: str) -> Parse[None]:
    yield from reader.space()
    if (yield from reader.peek()) != "{":
        raise NotACallError
    reader.call(name)
    yield from json_text.value(reader, reader.argue)


def _thinking(lark: Lark) -> str:
    channel, message = lark.mark(_CHANNEL), lark.mark(_MESSAGE)
    thought = f'{channel} "analysis" {message} {lark.until(_END)}'
    return lark.rule("thinking", f'{thought} {lark.mark(_START)} "assistant"')


def _rule(lark: Lark, tool: Tool) -> str:
    head = lark.text(f"commentary to=functions.{tool.name} ")
    kind = f'{lark.mark(_CONSTRAIN)} "json"'
    body = f"{lark.mark(_MESSAGE)} {lark.json(tool.schema)}"
    return lark.rule("function", f"{lark.mark(_CHANNEL)} {head} {kind} {body}")
