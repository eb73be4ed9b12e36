"""Sends journeys as traces and measurements, from threads of OpenTelemetry's own."""

import threading
import time

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from gateway.journey import Journey, arrive
from gateway.log import note
from gateway.tracing.measures import Measures
from gateway.tracing.signals import Signal
from gateway.tracing.stages import Stage, facts_of, stages_of
from gateway.version import own_version

CLOSE_SECONDS = 3.0
"""What is not sent by then is lost: a collector that is away must not hold up a shutdown."""

_ABORTED = "abort"

_propagator = TraceContextTextMapPropagator()


class Telemetry:
    """A `JourneyObserver`. The spans of a request are made when it has ended, its own but for one.

    That one begins with the request, so that what the request asks of other servers can belong to it.
    """

    def __init__(self, signals: frozenset[Signal]) -> None:
        version = own_version()
        resource = Resource.create({SERVICE_VERSION: version})
        if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
            resource = resource.merge(Resource({SERVICE_NAME: "roundhouse"}))
        self._tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
        if "traces" in signals:
            self._tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._tracers.get_tracer("roundhouse", version)
        readers = []
        if "metrics" in signals:
            readers.append(PeriodicExportingMetricReader(OTLPMetricExporter()))
        self._meters = MeterProvider(readers, resource=resource, shutdown_on_exit=False)
        self._measures = Measures(self._meters.get_meter("roundhouse", version))
        self._begun: dict[Journey, tuple[Span, _Clock]] = {}

    def begun(self, journey: Journey) -> None:
        arrival, clock = journey.arrival, _Clock()
        carrier = {"traceparent": arrival.traceparent, "tracestate": arrival.tracestate}
        span = self._tracer.start_span(
            journey.operation,
            _propagator.extract({name: text for name, text in carrier.items() if text}),
            SpanKind.SERVER,
            start_time=clock.at(arrival.at),
        )
        self._begun[journey] = span, clock
        sent: dict[str, str] = {}
        _propagator.inject(sent, set_span_in_context(span))
        parent, state = sent.get("traceparent", ""), sent.get("tracestate", "")
        arrive(arrival._replace(traceparent=parent, tracestate=state))
        note(trace_id=f"{span.get_span_context().trace_id:032x}")

    def ended(self, journey: Journey) -> None:
        self._measures.ended(journey)
        span, clock = self._begun.pop(journey)
        if not span.is_recording():
            return
        span.update_name(f"{journey.operation} {journey.model}".strip())
        for name, value in facts_of(journey).items():
            span.set_attribute(name, value)
        if journey.error not in {None, _ABORTED}:
            span.set_status(Status(StatusCode.ERROR, journey.error))
        for stage in stages_of(journey):
            self._tell(stage, span, clock)
        span.end(clock.at(journey.ended_at or time.monotonic()))

    def close(self) -> None:
        """Sends what is left; blocks for seconds at most."""
        thread = threading.Thread(target=self._shutdown, name="telemetry-end", daemon=True)
        thread.start()
        thread.join(CLOSE_SECONDS)

    def _shutdown(self) -> None:
        self._tracers.shutdown()
        self._meters.shutdown()

    def _tell(self, stage: Stage, parent: Span, clock: "_Clock") -> None:
        span = self._tracer.start_span(
            stage.name,
            set_span_in_context(parent),
            attributes=dict(stage.facts),
            start_time=clock.at(stage.start),
        )
        for event in stage.events:
            span.add_event(event.name, dict(event.facts), clock.at(event.at))
        for part in stage.parts:
            self._tell(part, span, clock)
        span.end(clock.at(max(stage.start, stage.end)))


class _Clock:
    """Nanoseconds since 1970 of moments of `time.monotonic`, in whose order they stay."""

    def __init__(self) -> None:
        self._offset = time.time_ns() - time.monotonic_ns()

    def at(self, moment: float) -> int:
        return self._offset + round(moment * 1e9)
