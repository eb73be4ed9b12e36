"""What can go wrong between an upstream and us: what its client is told, and what we do about it."""

import math
from dataclasses import dataclass
from http import HTTPStatus

import httpx
import msgspec
from msgspec import Struct

from gateway.errors import (
    GatewayError,
    UpstreamBusy,
    UpstreamFailed,
    UpstreamKeyRefused,
    UpstreamLoop,
    UpstreamRefused,
    UpstreamTimeout,
)
from gateway.openai.errors import ErrorBody
from gateway.upstreams.route import Verdict

MAX_MESSAGE = 500

_OUR_FAULT = {400, 413, 415, 422}
"""The request itself is wrong, and would be at any other server."""


@dataclass(eq=False)
class UpstreamFailure(Exception):
    """error: what the client is told. is_fault: it counts against the server.

    rest_seconds: how long it asks to be left alone.
    """

    error: GatewayError
    verdict: Verdict
    is_fault: bool = True
    rest_seconds: float | None = None


class _Error(Struct, frozen=True):
    message: str = ""
    type: str | None = None
    param: str | None = None
    code: str | int | None = None


class _Envelope(Struct, frozen=True):
    error: _Error | str = ""


def broken(name: str, reason: str, verdict: Verdict = "elsewhere") -> UpstreamFailure:
    """The server did not keep to the protocol, or to its bounds."""
    return UpstreamFailure(UpstreamFailed(f"The upstream {name!r} {reason}."), verdict)


def of_transport(name: str, error: httpx.HTTPError | TimeoutError) -> UpstreamFailure:
    """Nothing of what httpx says goes to the client: it may name hosts."""
    if isinstance(error, httpx.PoolTimeout):
        busy = UpstreamBusy(f"All connections to the upstream {name!r} are in use.")
        return UpstreamFailure(busy, "elsewhere", is_fault=False)
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return broken(name, "cannot be reached", "again")
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        timeout = UpstreamTimeout(f"The upstream {name!r} was silent for too long.")
        return UpstreamFailure(timeout, "elsewhere")
    return broken(name, "broke the connection off", "again")


def of_status(name: str, status: int, headers: httpx.Headers, body: bytes) -> UpstreamFailure:
    """An answer other than success. body: as much of it as was read, without our key."""
    if status in {401, 403}:
        return UpstreamFailure(_key_refused(name, status), "elsewhere")
    said = _read(body)
    words = f": {said.message[:MAX_MESSAGE]}" if said.message else "."
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        seconds = _retry_after(headers)
        busy = UpstreamBusy(f"The upstream {name!r} is busy{words}", retry_after_seconds=seconds)
        return UpstreamFailure(busy, "elsewhere", is_fault=False, rest_seconds=seconds)
    if status in _OUR_FAULT:
        return UpstreamFailure(UpstreamRefused(status, _shown(said, status)), "final", False)
    if status == HTTPStatus.LOOP_DETECTED:
        loop = UpstreamLoop(f"The upstream {name!r} asks this server in turn.")
        return UpstreamFailure(loop, "elsewhere", is_fault=False)
    is_vain = headers.get("x-should-retry") == "false"
    # what it says of a model or path is about its own names, not about the client's
    passes = status in {408, 409, 425} or (status >= 500 and not is_vain)
    error = UpstreamFailed(f"The upstream {name!r} answered {status}{words}")
    return UpstreamFailure(error, "again" if passes else "elsewhere", is_fault=status >= 500)


def of_event(name: str, data: bytes) -> UpstreamFailure:
    """An error within a stream, whose status is lost."""
    said = _read(data)
    if said.type == "invalid_request_error":
        return UpstreamFailure(UpstreamRefused(400, _shown(said, 400)), "final", False)
    words = said.message[:MAX_MESSAGE] or "no reason"
    return broken(name, f"ended its stream with an error: {words.rstrip('.')}")


def _key_refused(name: str, status: int) -> UpstreamKeyRefused:
    return UpstreamKeyRefused(
        f"The upstream {name!r} does not accept this server's key ({status}): whoever runs this "
        f"server has to see to its `key_env` or `key_file`."
    )


def _read(body: bytes) -> _Error:
    try:
        said = msgspec.json.decode(body, type=_Envelope).error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _Error()
    return _Error(said) if isinstance(said, str) else said


def _shown(said: _Error, status: int) -> ErrorBody:
    message = said.message[:MAX_MESSAGE] or HTTPStatus(status).phrase
    code = None if said.code is None else str(said.code)
    return ErrorBody(message, said.type or "invalid_request_error", said.param, code)


def _retry_after(headers: httpx.Headers) -> float | None:
    """None where it is not said, or said as a date."""
    try:
        seconds = float(headers.get("retry-after", "nan"))
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None
