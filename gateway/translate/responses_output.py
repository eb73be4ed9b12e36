"""The output of a response: deltas to items and their events. No I/O."""

import secrets
from dataclasses import dataclass, field

from engine.api import Delta, ToolCallDelta
from gateway.openai.chat import TokenLogprob
from gateway.openai.responses_events import Event
from gateway.openai.responses_reply import Item, ItemStatus
from gateway.translate.logprobs import read_logprob
from gateway.translate.responses_items import (
    Numbering,
    OpenCall,
    OpenItem,
    OpenMessage,
    OpenReasoning,
)


@dataclass
class Output:
    """One item is open at a time: what a delta brings goes to it, or to a new one.

    reasoning: the kind of item that thoughts go to.
    """

    make: Numbering
    reasoning: type[OpenReasoning]
    _done: list[Item] = field(default_factory=list)
    _open: OpenItem | None = None
    _logprobs: list[TokenLogprob] = field(default_factory=list)
    """Of tokens whose text is still held back."""

    @property
    def items(self) -> list[Item]:
        """What there is so far; an item that is still made counts as incomplete."""
        return self._done + ([self._open.item("incomplete")] if self._open else [])

    def add(self, delta: Delta) -> list[Event]:
        self._logprobs += map(read_logprob, delta.logprobs)
        events = self._think(delta.reasoning) if delta.reasoning else []
        if delta.text:
            events += self._say(delta.text)
        for call in delta.tool_calls:
            events += self._call(call)
        if delta.reasoning or delta.tool_calls:
            self._logprobs = []  # only words have a place for them
        return events

    def end(self, status: ItemStatus) -> list[Event]:
        """Closes what is open. Nothing said is an empty message."""
        events = [] if self._done or self._open else self._say("")
        return events + self._close(status)

    def _think(self, text: str) -> list[Event]:
        if isinstance(self._open, self.reasoning):
            return self._open.add(text)
        item = self.reasoning(self.make, _id("rs"), self._place)
        return [*self._begin(item), *item.add(text)]

    def _say(self, text: str) -> list[Event]:
        logprobs, self._logprobs = self._logprobs, []
        if isinstance(self._open, OpenMessage):
            return self._open.add(text, logprobs)
        item = OpenMessage(self.make, _id("msg"), self._place)
        begun = self._begin(item)
        return [*begun, *item.add(text, logprobs)] if text else begun

    def _call(self, call: ToolCallDelta) -> list[Event]:
        item, begun = self._open, list[Event]()
        if not isinstance(item, OpenCall) or item.index != call.index:
            item = OpenCall(self.make, _id("fc"), self._place, call.index, call.id, call.name)
            begun = self._begin(item)
        return begun + (item.add(call.arguments) if call.arguments else [])

    def _begin(self, item: OpenItem) -> list[Event]:
        closing = self._close("completed")
        self._open = item
        return closing + item.begin()

    def _close(self, status: ItemStatus) -> list[Event]:
        if self._open is None:
            return []
        closed, self._open = self._open, None
        self._done.append(closed.item(status))
        return closed.end(status)

    @property
    def _place(self) -> int:
        """Of the next item, whether or not one is still open."""
        return len(self._done) + (self._open is not None)


def _id(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(16)}"
