"""The events of a streamed response. Each is named by its tag, and numbered from 0 without gaps."""

from msgspec import Struct

from gateway.openai.chat import TokenLogprob
from gateway.openai.responses_reply import Item, Part, Response, SummaryText


class Event(Struct, frozen=True, kw_only=True, tag_field="type"):
    sequence_number: int


class ResponseEvent(Event, frozen=True, kw_only=True):
    response: Response


class Created(ResponseEvent, frozen=True, tag="response.created"): ...


class Queued(ResponseEvent, frozen=True, tag="response.queued"): ...


class InProgress(ResponseEvent, frozen=True, tag="response.in_progress"): ...


class Completed(ResponseEvent, frozen=True, tag="response.completed"): ...


class Incomplete(ResponseEvent, frozen=True, tag="response.incomplete"): ...


class Failed(ResponseEvent, frozen=True, tag="response.failed"): ...


class ItemEvent(Event, frozen=True, kw_only=True):
    output_index: int
    item: Item


class ItemAdded(ItemEvent, frozen=True, tag="response.output_item.added"): ...


class ItemDone(ItemEvent, frozen=True, tag="response.output_item.done"): ...


class InItem(Event, frozen=True, kw_only=True):
    item_id: str
    output_index: int


class PartEvent(InItem, frozen=True, kw_only=True):
    content_index: int = 0
    part: Part


class PartAdded(PartEvent, frozen=True, tag="response.content_part.added"): ...


class PartDone(PartEvent, frozen=True, tag="response.content_part.done"): ...


class TextDelta(InItem, frozen=True, kw_only=True, tag="response.output_text.delta"):
    content_index: int = 0
    delta: str
    logprobs: list[TokenLogprob]


class TextDone(InItem, frozen=True, kw_only=True, tag="response.output_text.done"):
    content_index: int = 0
    text: str
    logprobs: list[TokenLogprob]


class ReasoningDelta(InItem, frozen=True, kw_only=True, tag="response.reasoning_text.delta"):
    content_index: int = 0
    delta: str


class ReasoningDone(InItem, frozen=True, kw_only=True, tag="response.reasoning_text.done"):
    content_index: int = 0
    text: str


class SummaryPartEvent(InItem, frozen=True, kw_only=True):
    summary_index: int = 0
    part: SummaryText


class SummaryPartAdded(
    SummaryPartEvent, frozen=True, tag="response.reasoning_summary_part.added"
): ...


class SummaryPartDone(
    SummaryPartEvent, frozen=True, tag="response.reasoning_summary_part.done"
): ...


class SummaryDelta(InItem, frozen=True, kw_only=True, tag="response.reasoning_summary_text.delta"):
    summary_index: int = 0
    delta: str


class SummaryDone(InItem, frozen=True, kw_only=True, tag="response.reasoning_summary_text.done"):
    summary_index: int = 0
    text: str


class ArgumentsDelta(
    InItem, frozen=True, kw_only=True, tag="response.function_call_arguments.delta"
):
    delta: str


class ArgumentsDone(InItem, frozen=True, kw_only=True, tag="response.function_call_arguments.done"):
    name: str
    arguments: str


EVENTS = (
    Created,
    Queued,
    InProgress,
    Completed,
    Incomplete,
    Failed,
    ItemAdded,
    ItemDone,
    PartAdded,
    PartDone,
    TextDelta,
    TextDone,
    ReasoningDelta,
    ReasoningDone,
    SummaryPartAdded,
    SummaryPartDone,
    SummaryDelta,
    SummaryDone,
    ArgumentsDelta,
    ArgumentsDone,
)
"""All that a stream may hold."""
