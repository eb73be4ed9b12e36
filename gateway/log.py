"""One event a line to stderr: coloured on a terminal, JSON elsewhere."""

import logging
import sys
from contextvars import ContextVar
from typing import Literal

import structlog
from structlog.typing import Processor

LogFormat = Literal["auto", "console", "json"]

_facts: ContextVar[dict[str, object]] = ContextVar("facts")


def begin_facts() -> dict[str, object]:
    """A fresh collection of facts for the request that this task, and those it starts, serve."""
    facts: dict[str, object] = {}
    _facts.set(facts)
    return facts


def note(**facts: object) -> None:
    """Adds to the line that the request is logged with when it has ended."""
    _facts.get({}).update(facts)


def configure_logging(log_format: LogFormat = "auto") -> None:
    """Sets structlog up for the process. Standard logging's warnings, uvicorn's too, join in."""
    is_console = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=not is_console),
    ]
    structlog.configure(
        processors=[*shared, *_renderers(is_console)],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *_renderers(is_console),
        ],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)


def _renderers(is_console: bool) -> list[Processor]:
    if is_console:
        return [structlog.dev.ConsoleRenderer()]
    return [structlog.processors.dict_tracebacks, structlog.processors.JSONRenderer()]
