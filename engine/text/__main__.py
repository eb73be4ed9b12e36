"""`python -m engine.text --control-fd N`: the text process, which lives as long as its gateway."""

import asyncio
import os
import socket
import sys
from argparse import ArgumentParser
from typing import Any, cast

import structlog

from engine.sandbox import die_with_parent
from engine.text.library import Library
from engine.text.process import TextProcess
from engine.text.prompts import PromptReader
from engine.text.template import Renderer
from engine.wire import Channel, TextCommand

log = structlog.get_logger()


def main() -> None:
    die_with_parent()
    log_to_stderr()
    # Our batches hold one text each, so the library's thread pool would only be in the way.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    parser = ArgumentParser(prog="python -m engine.text", allow_abbrev=False)
    parser.add_argument("--control-fd", type=int, required=True)
    control_fd = parser.parse_args().control_fd
    status = 1
    try:
        asyncio.run(serve(control_fd))
        status = 0
    except Exception:
        log.exception("text_crashed")
    finally:
        # Not sys.exit: a thread may be tokenizing, and nobody is left to wait for it.
        sys.stderr.flush()
        os._exit(status)


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


async def serve(control_fd: int) -> None:
    """Runs until the control channel ends."""
    control = socket.socket(fileno=control_fd)
    reader, writer = await asyncio.open_unix_connection(sock=control)
    channel = Channel[TextCommand](reader, writer, cast("Any", TextCommand))
    renderer = Renderer()
    try:
        await TextProcess(channel, PromptReader(Library(), renderer)).run()
    finally:
        renderer.close()


if __name__ == "__main__":
    main()
