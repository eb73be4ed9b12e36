"""Sends what a source answers: at once as plain JSON, or as a stream with signs of life."""

from collections.abc import AsyncGenerator, Callable
from typing import Any, Protocol

import msgspec
import structlog
from litestar import Request, Response
from litestar.background_tasks import BackgroundTask
from litestar.response import Stream

from gateway import sse
from gateway.errors import is_foreseen, problem_of
from gateway.log import note
from gateway.openai.errors import ErrorReply
from gateway.routes.hold import hold
from gateway.routes.pump import Pump
from gateway.routes.services import Services

JSON = "application/json"
# proxies must pass events on one by one
_STREAM_HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}

log = structlog.get_logger()
_encode = msgspec.json.Encoder().encode


class Source(Protocol):
    """What makes a reply, such as an `Exchange`."""

    @property
    def framing(self) -> sse.Framing: ...

    def answer(self) -> AsyncGenerator[bytes, None]:
        """The reply's bytes, ready to send."""

    def progress(self) -> str:
        """What the server is busy with, for a client that waits."""


async def respond(
    request: Request[Any, Any, Any], services: Services, source: Source, *, is_stream: bool
) -> Response[Any]:
    """Errors before the first byte are raised; later ones are sent in its place.

    A stream is kept alive by comments, a plain reply by white space before its JSON.
    """
    limits = services.settings.limits
    pump = Pump(source.answer(), limits.stall_seconds)
    services.answering.add(pump.task)
    pump.task.add_done_callback(services.answering.discard)
    await hold(pump, request, limits.header_hold_seconds)
    if pump.is_done and not pump.error and not is_stream:
        return Response(pump.take(), media_type=JSON, status_code=200)
    framing = source.framing
    content = _body(
        pump,
        filler=(lambda: framing.filler(source.progress())) if is_stream else (lambda: b" "),
        failure=framing.failure if is_stream else (lambda reply: _encode(framing.error(reply))),
        seconds=limits.keep_alive_seconds,
    )
    return Stream(
        content,
        media_type=framing.media_type if is_stream else JSON,
        status_code=200,
        headers=_STREAM_HEADERS,
        background=BackgroundTask(pump.cancel),
    )


async def _body(
    pump: Pump,
    filler: Callable[[], bytes],
    failure: Callable[[ErrorReply], bytes],
    seconds: float,
) -> AsyncGenerator[bytes, None]:
    """The pump's pieces, with filler in every silence of `seconds`."""
    try:
        if not pump.has_pieces:  # the headers go out because nothing came for long
            yield filler()
        while not (pump.is_done and not pump.has_pieces):
            if await pump.wait(seconds):
                yield pump.take()
            else:
                yield filler()
        if pump.error:
            yield failure(late_problem(pump.error))
    finally:
        if not pump.is_done:
            note(error="the client left")
        pump.cancel()


def late_problem(error: Exception) -> ErrorReply:
    """What is said of an error that came too late for a status of its own."""
    problem = problem_of(error)
    code = problem.body.code or problem.body.type
    note(error=problem.body.message, error_status=problem.status, error_code=code)
    if not is_foreseen(error):
        log.error("request_failed", exc_info=error)
    return problem.reply
