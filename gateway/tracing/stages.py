"""What the spans of a request are: decided here, made by `telemetry`. Times are of `time.monotonic`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from gateway.journey import Event, Journey, Loading
from gateway.tracing import names

Value = str | int | float | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of a request, or of one of its parts."""

    name: str
    start: float
    end: float
    facts: Mapping[str, Value] = field(default_factory=dict)
    events: tuple[Event, ...] = ()
    parts: tuple["Stage", ...] = ()


def stages_of(journey: Journey) -> Iterator[Stage]:
    """Those that the request came to; one that it did not leave ends with it."""
    end = journey.ended_at or journey.arrival.at
    prepared = journey.prepared_at or end
    yield Stage("prepare", journey.arrival.at, prepared)
    if journey.prepared_at is None:
        return
    granted = journey.granted_at or end
    loads = tuple(_load(load, prepared, granted) for load in journey.loads)
    yield Stage("wait_for_model", prepared, granted, events=tuple(journey.events), parts=loads)
    if journey.granted_at is not None and journey.first_at is not None:
        yield from _generated(journey, granted, journey.first_at, end)


def facts_of(journey: Journey) -> dict[str, Value]:
    """Attributes of the whole request; nothing of what was asked or answered."""
    facts: dict[str, Value] = {
        names.OPERATION: journey.operation,
        names.PROVIDER: "roundhouse",
        names.REQUEST_MODEL: journey.name[:200],
        names.REQUEST_ID: journey.arrival.request_id,
        names.CHOICES: journey.num_choices,
        names.INPUT_TOKENS: journey.prompt_tokens,
        names.OUTPUT_TOKENS: journey.completion_tokens,
        names.CACHED_TOKENS: journey.cached_tokens,
        names.FINISH_REASONS: tuple(journey.finish_reasons),
    }
    optional: dict[str, Value | None] = {
        names.RESPONSE_MODEL: journey.model or None,
        names.MAX_TOKENS: journey.max_tokens,
        names.ERROR: journey.error,
    }
    return facts | {name: value for name, value in optional.items() if value is not None}


def _generated(journey: Journey, granted: float, first: float, end: float) -> Iterator[Stage]:
    """The worker says how long it queued and read; the rest is told by when the answer came."""
    began = max(granted, first - journey.prefill_seconds)
    if journey.waited_seconds:
        yield Stage("queue", max(granted, began - journey.waited_seconds), began)
    read = {
        names.INPUT_TOKENS: journey.prompt_tokens,
        names.CACHED_TOKENS: journey.cached_tokens,
    }
    yield Stage("prefill", began, first, read)
    made = {names.OUTPUT_TOKENS: journey.completion_tokens}
    yield Stage("decode", first, journey.last_at or end, made)


def _load(load: Loading, earliest: float, latest: float) -> Stage:
    """Its phases one behind the other: a report says how long each took, not when."""
    report = load.report
    start = at = load.at - report.seconds
    phases = []
    for phase, seconds in report.phases.items():
        phases.append(Stage(f"load {phase}", at, at + seconds))
        at += seconds
    facts: dict[str, Value] = {
        names.LOAD_TIER: report.tier,
        "roundhouse.load.bytes": report.total_bytes,
        # others may have waited for it before
        "roundhouse.load.waited_seconds": min(latest, load.at) - max(earliest, start),
    }
    return Stage("load", start, load.at, facts, parts=tuple(phases))
