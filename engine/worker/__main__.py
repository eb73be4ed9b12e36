"""`python -m engine.worker --control-fd N --socket PATH --device NAME --memory BYTES --dtype D`."""

import asyncio
import os
import socket
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any, NoReturn, cast

import structlog

from engine.wire import Channel, Command
from engine.worker.process import die_with_parent
from engine.worker.server import Worker

log = structlog.get_logger()


def main() -> None:
    die_with_parent()
    log_to_stderr()
    arguments = parse_arguments()
    try:
        asyncio.run(serve(arguments))
    except Exception:
        log.exception("worker_crashed")
        leave(1)


def parse_arguments() -> Namespace:
    parser = ArgumentParser(prog="python -m engine.worker", allow_abbrev=False)
    parser.add_argument("--control-fd", type=int, required=True)
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--memory", type=int, required=True)
    parser.add_argument("--dtype", choices=("auto", "float32", "bfloat16"), default="auto")
    return parser.parse_args()


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


async def serve(arguments: Namespace) -> None:
    """Runs a worker until its control channel ends, and the process with it."""
    control = socket.socket(fileno=arguments.control_fd)
    reader, writer = await asyncio.open_unix_connection(sock=control)
    worker = Worker(
        Channel[Command](reader, writer, cast("Any", Command)),
        device=arguments.device,
        memory_bytes=arguments.memory,
        dtype=arguments.dtype,
    )
    await worker.run(arguments.socket)
    leave(0)


def leave(status: int) -> NoReturn:
    """Ends the process at once: its threads may be inside kernels, and nobody waits for them."""
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
