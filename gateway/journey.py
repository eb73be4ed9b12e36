"""What a request for a model went through, and when."""

import re
import time
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from engine.api import ChatPrompt, LoadReport, Prompt, Usage

Operation = Literal["chat", "text_completion", "embeddings"]
"""As GenAI's conventions call them; scores of rerankers count as vectors."""

MAX_EVENTS = 64
"""What happens to a model while a request is there: beyond so many, a journey remembers no more."""


class Arrival(NamedTuple):
    """A request's first moment, of `time.monotonic`, and what it says of the trace it belongs to.

    via: the servers that it came through (RFC 9110, 7.6.3).
    """

    at: float
    traceparent: str = ""
    tracestate: str = ""
    request_id: str = ""
    via: str = ""


class Event(NamedTuple):
    """What the pool decided or did for the journey's model: its name and what there is to say."""

    at: float
    name: str
    facts: dict[str, str]


class Loading(NamedTuple):
    """A load of the journey's model that ended at `at`."""

    at: float
    report: LoadReport


@dataclass(eq=False, slots=True)
class Journey:
    """Moments are of `time.monotonic`, and None where the request did not come so far.

    name: the model as the client calls it. model, key: its id, and the pool's name for it.
    usage: of all choices together. finish_reasons: one for each choice that ended.
    error: what it ended with instead; "abort" if nobody waited for the answer any more.
    """

    operation: Operation
    name: str
    arrival: Arrival
    model: str = ""
    key: str = ""
    prepared_at: float | None = None
    granted_at: float | None = None
    first_at: float | None = None
    last_at: float | None = None
    ended_at: float | None = None
    num_choices: int = 1
    max_tokens: int | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    most_completion_tokens: int = 0
    cached_tokens: int = 0
    waited_seconds: float = 0.0
    prefill_seconds: float = 0.0
    finish_reasons: list[str] = field(default_factory=list)
    loads: list[Loading] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    error: str | None = None

    def prepared(self, prompt_tokens: int, num_choices: int, max_tokens: int | None) -> None:
        self.prepared_at = time.monotonic()
        self.prompt_tokens = prompt_tokens
        self.num_choices, self.max_tokens = num_choices, max_tokens

    def granted(self) -> None:
        self.granted_at = time.monotonic()

    def began(self) -> None:
        """The first of its answer is there."""
        self.first_at = time.monotonic()

    def choice_ended(self, reason: str, usage: Usage | None) -> None:
        """The slowest of several choices says how long the engine took."""
        self.finish_reasons.append(reason)
        if usage is None:
            return
        self.completion_tokens += usage.completion_tokens
        self.most_completion_tokens = max(self.most_completion_tokens, usage.completion_tokens)
        self.cached_tokens += usage.cached_tokens
        self.waited_seconds = max(self.waited_seconds, usage.spent.queue_seconds)
        self.prefill_seconds = max(self.prefill_seconds, usage.spent.prefill_seconds)

    def answered(self) -> None:
        self.last_at = time.monotonic()

    def happened(self, name: str, **facts: str) -> None:
        if len(self.events) < MAX_EVENTS:
            self.events.append(Event(time.monotonic(), name, facts))

    @property
    def seconds(self) -> float:
        """From the arrival to the end."""
        return (self.ended_at or time.monotonic()) - self.arrival.at

    @property
    def queue_seconds(self) -> float:
        """It was ready to run and did not: it waited for its model, loads included, and for a step."""
        until = self.granted_at or self.ended_at
        if self.prepared_at is None or until is None:
            return 0.0
        return until - self.prepared_at + self.waited_seconds

    @property
    def load_seconds(self) -> float:
        """Those of the wait in which the model was loaded."""
        start, end = self.prepared_at, self.granted_at or self.ended_at
        if start is None or end is None:
            return 0.0
        began = (max(start, load.at - load.report.seconds) for load in self.loads)
        spans = ((first, min(end, load.at)) for first, load in zip(began, self.loads, strict=True))
        return sum(max(0.0, last - first) for first, last in spans)

    @property
    def decode_seconds(self) -> float:
        """From the first of the answer to the last."""
        if self.first_at is None:
            return 0.0
        return (self.last_at or self.ended_at or self.first_at) - self.first_at

    def parts(self) -> dict[str, float]:
        """Where its time went, in seconds; the load is part of the queue."""
        return {
            "prepare": (self.prepared_at or self.ended_at or self.arrival.at) - self.arrival.at,
            "queue": self.queue_seconds,
            "load": self.load_seconds,
            "prefill": self.prefill_seconds,
            "decode": self.decode_seconds,
        }


# Trace Context, sections 3.2 and 3.3: what is malformed is as good as absent
_PARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-[!-~]{1,64})?")
_STATE = re.compile(rb"[ -~]{1,512}")

_arrival: ContextVar[Arrival] = ContextVar("arrival")


def operation_of(prompts: Sequence[Prompt]) -> Operation:
    """Messages are chatted about, all else is completed."""
    return "chat" if any(isinstance(each, ChatPrompt) for each in prompts) else "text_completion"


def arrival_of(at: float, headers: Mapping[bytes, bytes], request_id: bytes) -> Arrival:
    """Of a request's headers; what they say of a trace may be handed on as it is."""
    parent, state = headers.get(b"traceparent", b""), headers.get(b"tracestate", b"")
    via = headers.get(b"via", b"")
    known = Arrival(at, request_id=request_id.decode(), via=via.decode("latin-1"))
    if not _PARENT.fullmatch(parent):
        return known
    tracestate = state.decode() if _STATE.fullmatch(state) else ""
    return known._replace(traceparent=parent.decode(), tracestate=tracestate)


def arrive(arrival: Arrival) -> None:
    """Remembers it for the request that this task, and those it starts, serve."""
    _arrival.set(arrival)


def arrival() -> Arrival:
    """The current request's; now, where there is none."""
    return _arrival.get(None) or Arrival(time.monotonic())
