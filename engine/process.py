"""How every process of the engine is born and how it dies."""

import contextlib
import ctypes
import os
import signal
import socket
import sys
from collections.abc import Coroutine
from typing import Any, NoReturn, TypeVar

import structlog
import uvloop

from engine.channel import Channel

In = TypeVar("In")

_PR_SET_PDEATHSIG = 1

log = structlog.get_logger()


def live(serve: Coroutine[Any, Any, None]) -> NoReturn:
    """Runs until `serve` returns, and ends the process at once, with status 1 if it raised.

    No orderly exit: threads may be inside kernels or tokenizers, and nobody is left to wait for.
    """
    die_with_parent()
    log_to_stderr()
    uvloop.run(_serve_and_leave(serve))  # its calls cost a third of asyncio's own
    raise AssertionError("the process has left")


async def _serve_and_leave(serve: Coroutine[Any, Any, None]) -> None:
    status = 0
    try:
        await serve
    except Exception:
        log.exception("process_crashed")
        status = 1
    sys.stderr.flush()
    os._exit(status)


def die_with_parent() -> None:
    """Has the kernel kill this process when the thread that started it ends. Linux only."""
    with contextlib.suppress(OSError, AttributeError):  # elsewhere the control channel has to do
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def log_to_stderr() -> None:
    """JSON lines, or colours where somebody watches."""
    renderers = [structlog.processors.dict_tracebacks, structlog.processors.JSONRenderer()]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            *([structlog.dev.ConsoleRenderer()] if sys.stderr.isatty() else renderers),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


async def control_channel(fd: int, incoming: Any) -> Channel[Any]:
    """The channel to the process that started this one. `incoming`: the union it sends."""
    return await Channel.over(socket.socket(fileno=fd), incoming)
