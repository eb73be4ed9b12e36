"""Items of a response while they are made: each knows its events, in the order that SDKs want."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TypeVar

from gateway.openai import responses_events as events
from gateway.openai.chat import TokenLogprob
from gateway.openai.responses_events import Event
from gateway.openai.responses_reply import (
    FunctionCallItem,
    Item,
    ItemStatus,
    MessageItem,
    OutputText,
    ReasoningItem,
    ReasoningText,
    SummaryText,
)

EventKind = TypeVar("EventKind", bound=Event)


class Numbering:
    """Makes events, numbered from 0 without gaps."""

    def __init__(self) -> None:
        self._next = 0

    def __call__(self, kind: type[EventKind], **fields: object) -> EventKind:
        event = kind(sequence_number=self._next, **fields)
        self._next += 1
        return event


@dataclass
class OpenItem(ABC):
    """The item that is being made, at `place` of the output: `begin` once, `end` once."""

    make: Numbering
    id: str
    place: int
    _pieces: list[str] = field(default_factory=list, kw_only=True)

    @abstractmethod
    def begin(self) -> list[Event]: ...

    @abstractmethod
    def end(self, status: ItemStatus) -> list[Event]: ...

    @abstractmethod
    def item(self, status: ItemStatus) -> Item:
        """As it is now."""

    @property
    def text(self) -> str:
        return "".join(self._pieces)

    def _event(self, kind: type[EventKind], **fields: object) -> EventKind:
        return self.make(kind, item_id=self.id, output_index=self.place, **fields)

    def _added(self, empty: Item) -> Event:
        return self.make(events.ItemAdded, output_index=self.place, item=empty)

    def _done(self, status: ItemStatus) -> Event:
        return self.make(events.ItemDone, output_index=self.place, item=self.item(status))


@dataclass
class OpenMessage(OpenItem):
    _logprobs: list[TokenLogprob] = field(default_factory=list)

    def begin(self) -> list[Event]:
        empty = MessageItem(self.id, "in_progress", [])
        return [self._added(empty), self._event(events.PartAdded, part=OutputText(""))]

    def add(self, text: str, logprobs: list[TokenLogprob]) -> list[Event]:
        self._pieces.append(text)
        self._logprobs += logprobs
        return [self._event(events.TextDelta, delta=text, logprobs=logprobs)]

    def end(self, status: ItemStatus) -> list[Event]:
        part = self._part
        return [
            self._event(events.TextDone, text=part.text, logprobs=part.logprobs),
            self._event(events.PartDone, part=part),
            self._done(status),
        ]

    def item(self, status: ItemStatus) -> Item:
        return MessageItem(self.id, status, [self._part])

    @property
    def _part(self) -> OutputText:
        return OutputText(self.text, logprobs=[*self._logprobs])


@dataclass
class OpenReasoning(OpenItem):
    """Thoughts, as they are."""

    def begin(self) -> list[Event]:
        empty = ReasoningItem(self.id, "in_progress", [], [])
        return [self._added(empty), self._event(events.PartAdded, part=ReasoningText(""))]

    def add(self, text: str) -> list[Event]:
        self._pieces.append(text)
        return [self._event(events.ReasoningDelta, delta=text)]

    def end(self, status: ItemStatus) -> list[Event]:
        return [
            self._event(events.ReasoningDone, text=self.text),
            self._event(events.PartDone, part=ReasoningText(self.text)),
            self._done(status),
        ]

    def item(self, status: ItemStatus) -> Item:
        return ReasoningItem(self.id, status, [], [ReasoningText(self.text)])


@dataclass
class OpenSummary(OpenReasoning):
    """Thoughts for those who asked for a summary: nothing here makes them shorter."""

    def begin(self) -> list[Event]:
        empty = ReasoningItem(self.id, "in_progress", [], [])
        return [self._added(empty), self._event(events.SummaryPartAdded, part=SummaryText(""))]

    def add(self, text: str) -> list[Event]:
        self._pieces.append(text)
        return [self._event(events.SummaryDelta, delta=text)]

    def end(self, status: ItemStatus) -> list[Event]:
        return [
            self._event(events.SummaryDone, text=self.text),
            self._event(events.SummaryPartDone, part=SummaryText(self.text)),
            self._done(status),
        ]

    def item(self, status: ItemStatus) -> Item:
        return ReasoningItem(self.id, status, [SummaryText(self.text)], [])


@dataclass
class OpenCall(OpenItem):
    """index: the call's in the engine's deltas. call_id: by which its output will name it."""

    index: int
    call_id: str
    name: str

    def begin(self) -> list[Event]:
        return [self._added(FunctionCallItem(self.id, "in_progress", self.call_id, self.name, ""))]

    def add(self, arguments: str) -> list[Event]:
        self._pieces.append(arguments)
        return [self._event(events.ArgumentsDelta, delta=arguments)]

    def end(self, status: ItemStatus) -> list[Event]:
        done = self._event(events.ArgumentsDone, name=self.name, arguments=self.text)
        return [done, self._done(status)]

    def item(self, status: ItemStatus) -> Item:
        return FunctionCallItem(self.id, status, self.call_id, self.name, self.text)
