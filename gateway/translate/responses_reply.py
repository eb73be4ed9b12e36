"""A response from its first event to its last. No I/O."""

import secrets

import msgspec
from msgspec import Struct

from engine.api import Delta, FinishReason
from engine.api import Usage as EngineUsage
from gateway.openai import responses_events as events
from gateway.openai.errors import ErrorReply
from gateway.openai.responses import ResponseRequest
from gateway.openai.responses_events import Event
from gateway.openai.responses_reply import (
    IncompleteDetails,
    InputTokensDetails,
    OutputTokensDetails,
    Response,
    ResponseError,
    ResponseUsage,
)
from gateway.translate.job import Job
from gateway.translate.reply import now
from gateway.translate.responses_items import Numbering, OpenReasoning, OpenSummary
from gateway.translate.responses_output import Output
from gateway.translate.responses_shown import opening

_FINAL = {"completed", "incomplete", "failed", "cancelled"}


class ResponsesReply:
    """`translate.reply.Reply` for one response, which it is from before its model is known."""

    def __init__(self, request: ResponseRequest) -> None:
        self.id = f"resp_{secrets.token_hex(24)}"
        self._usage: EngineUsage | None = None
        self._finish_reason: FinishReason | None = None
        self._has_begun = False
        self._make = Numbering()
        self._opening = opening(request, self.id, now())
        summary = self._opening.reasoning.summary
        self._output = Output(self._make, OpenSummary if summary else OpenReasoning)

    @property
    def response(self) -> Response:
        """As it is now."""
        return msgspec.structs.replace(self._opening, output=self._output.items)

    @property
    def is_final(self) -> bool:
        return self._opening.status in _FINAL

    @property
    def num_tokens(self) -> tuple[int, int]:
        usage = self._usage or EngineUsage(0, 0)
        return usage.prompt_tokens, usage.completion_tokens

    def serve(self, model: str, job: Job) -> "ResponsesReply":
        """Itself, now that it is known what makes it."""
        sampling = job.generation.sampling
        self._turn(model=model, temperature=sampling.temperature, top_p=sampling.top_p)
        return self

    def queue(self) -> list[Event]:
        """The events of one that is made in the background."""
        self._turn(status="queued")
        self._has_begun = True
        kinds = (events.Created, events.Queued)
        return [self._make(kind, response=self._opening) for kind in kinds]

    def begin(self) -> list[Struct]:
        self._turn(status="in_progress")
        kinds = [events.InProgress] if self._has_begun else [events.Created, events.InProgress]
        self._has_begun = True
        return [self._make(kind, response=self._opening) for kind in kinds]

    def add(self, delta: Delta) -> list[Struct]:
        self._finish_reason = delta.finish_reason or self._finish_reason
        self._usage = delta.usage or self._usage
        return [*self._output.add(delta)]

    def end(self) -> list[Struct]:
        self._turn(usage=_read_usage(self._usage or EngineUsage(0, 0)), completed_at=now())
        if self._finish_reason == "length":
            closing = self._output.end("incomplete")
            reason = IncompleteDetails("max_output_tokens")
            self._turn(status="incomplete", incomplete_details=reason, completed_at=None)
            return [*closing, self._make(events.Incomplete, response=self.response)]
        closing = self._output.end("completed")
        self._turn(status="completed")
        return [*closing, self._make(events.Completed, response=self.response)]

    def whole(self) -> Struct:
        self.end()
        return self.response

    def fail(self, failure: ErrorReply) -> list[Struct]:
        """What ends a stream that cannot go on. What had been said so far is kept."""
        begun: list[Struct] = [] if self._has_begun else self.begin()
        error = ResponseError(failure.error.code or failure.error.type, failure.error.message)
        self._turn(status="failed", error=error)
        return [*begun, self._make(events.Failed, response=self.response)]

    def cancel(self) -> None:
        self._turn(status="cancelled")

    def _turn(self, **changes: object) -> None:
        self._opening = msgspec.structs.replace(self._opening, **changes)


def _read_usage(usage: EngineUsage) -> ResponseUsage:
    return ResponseUsage(
        usage.prompt_tokens,
        InputTokensDetails(usage.cached_tokens),
        usage.completion_tokens,
        OutputTokensDetails(usage.reasoning_tokens),
        usage.prompt_tokens + usage.completion_tokens,
    )
