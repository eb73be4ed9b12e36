"""A message's content blocks as they grow: thinking, text, calls, one after the other."""

from dataclasses import dataclass, field

import msgspec
from msgspec import Struct

from engine.api import Delta, ToolCallDelta
from gateway.anthropic.replies import (
    BlockDelta,
    BlockStart,
    BlockStop,
    ContentBlock,
    InputDelta,
    SignatureDelta,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolUse,
)

SIGNATURE = "unsigned"
"""Clients want one to send a thinking block back. Nobody checks it here."""


_GROWTH: dict[type[ContentBlock], type[TextDelta | ThinkingDelta | InputDelta]] = {
    Text: TextDelta,
    Thinking: ThinkingDelta,
    ToolUse: InputDelta,
}


@dataclass(slots=True)
class _Block:
    """start: as it was announced, empty. call: which of the reply's calls it is."""

    start: ContentBlock
    call: int | None = None
    pieces: list[str] = field(default_factory=list)


class Blocks:
    """At most one block is open at a time, the last one."""

    def __init__(self, shows_thinking: bool) -> None:
        self._shows_thinking = shows_thinking
        self._blocks: list[_Block] = []
        self._is_open = False

    @property
    def content(self) -> list[ContentBlock]:
        """What all deltas together said."""
        return [_whole(block) for block in self._blocks]

    def add(self, delta: Delta) -> list[Struct]:
        """The events of a delta."""
        events: list[Struct] = []
        if delta.reasoning and self._shows_thinking:
            events += self._enter(Thinking())
            events.append(self._grow(delta.reasoning))
        if delta.text:
            events += self._enter(Text())
            events.append(self._grow(delta.text))
        for call in delta.tool_calls:
            events += self._add_call(call)
        return events

    def close(self) -> list[Struct]:
        """The events that end the open block, if there is one."""
        if not self._is_open:
            return []
        self._is_open = False
        index = len(self._blocks) - 1
        stop = BlockStop(index)
        if isinstance(self._blocks[-1].start, Thinking):
            return [BlockDelta(index, SignatureDelta(SIGNATURE)), stop]
        return [stop]

    def _add_call(self, call: ToolCallDelta) -> list[Struct]:
        events: list[Struct] = []
        if not self._is_open or self._blocks[-1].call != call.index:
            events += self._open(ToolUse(call.id, call.name), call.index)
        if call.arguments:
            events.append(self._grow(call.arguments))
        return events

    def _enter(self, start: Text | Thinking) -> list[Struct]:
        """Goes on with a block of this kind, or begins one."""
        is_same = self._is_open and type(self._blocks[-1].start) is type(start)
        return [] if is_same else self._open(start)

    def _open(self, start: ContentBlock, call: int | None = None) -> list[Struct]:
        events = self.close()
        self._blocks.append(_Block(start, call))
        self._is_open = True
        return [*events, BlockStart(len(self._blocks) - 1, start)]

    def _grow(self, piece: str) -> Struct:
        block = self._blocks[-1]
        block.pieces.append(piece)
        return BlockDelta(len(self._blocks) - 1, _GROWTH[type(block.start)](piece))


def _whole(block: _Block) -> ContentBlock:
    joined = "".join(block.pieces)
    match block.start:
        case Text():
            return Text(joined)
        case Thinking():
            return Thinking(joined, SIGNATURE)
        case ToolUse(id, name):
            return ToolUse(id, name, _read_input(joined))


def _read_input(arguments: str) -> dict[str, object]:
    """Arguments that were cut off before their end are none: half of them may mean something else."""
    try:
        return msgspec.json.decode(arguments or "{}", type=dict[str, object])
    except msgspec.DecodeError:
        return {}
