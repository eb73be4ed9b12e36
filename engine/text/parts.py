"""A chat's answer as it comes, in the parts that a delta has."""

from dataclasses import dataclass, field

from engine.api import Generation, ToolCallDelta
from engine.text.chat_format import ChatFormat, ChatParser
from engine.text.tools.events import Argued, Called, Event, Said, Thought


@dataclass(slots=True)
class Parts:
    text: str = ""
    reasoning: str = ""
    tool_calls: list[ToolCallDelta] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.text or self.reasoning or self.tool_calls)


class PartsReader:
    """Text in, parts out. Calls are numbered; of those that may not be parallel the first counts."""

    def __init__(self, form: ChatFormat, generation: Generation) -> None:
        self._form = form
        self._choice = generation.tools
        self._parser = ChatParser(
            form, generation.tools, splits_thought=generation.splits_reasoning
        )
        self.num_calls = 0

    def feed(self, text: str, *, is_last: bool) -> Parts:
        events = self._parser.feed(text)
        if is_last:
            events += self._parser.finish()
        parts = Parts()
        for event in events:
            self._add(parts, event)
        return parts

    @property
    def num_settled(self) -> int:
        return self._parser.num_settled

    def is_said(self, start: int, end: int) -> bool:
        """Whether any of the characters [start, end) of the text is the answer's."""
        return self._is_any(start, end, "text")

    def is_thought(self, start: int, end: int) -> bool:
        return self._is_any(start, end, "thought")

    def _is_any(self, start: int, end: int, kind: str) -> bool:
        start = min(start, end - 1)  # a token of no width goes with what stands before it
        return any(
            span.kind == kind and span.start < end and start < span.end
            for span in self._parser.spans
        )

    def _add(self, parts: Parts, event: Event) -> None:
        match event:
            case Said(text):
                parts.text += text
            case Thought(text):
                parts.reasoning += text
            case Called(name, own_id):
                self.num_calls += 1
                if self._is_wanted:
                    call_id = own_id or self._form.calls.new_id()
                    parts.tool_calls.append(ToolCallDelta(self.num_calls - 1, call_id, name))
            case Argued(text):
                if self._is_wanted:
                    self._add_arguments(parts.tool_calls, text)

    def _add_arguments(self, calls: list[ToolCallDelta], text: str) -> None:
        index = self.num_calls - 1
        if calls and calls[-1].index == index and not calls[-1].name:
            text = calls.pop().arguments + text
        calls.append(ToolCallDelta(index, arguments=text))

    @property
    def _is_wanted(self) -> bool:
        return self._choice is None or self._choice.is_parallel or self.num_calls == 1
