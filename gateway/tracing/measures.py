"""GenAI's metrics of servers, and of the tokens that were used."""

from opentelemetry.metrics import Meter

from gateway.journey import Journey
from gateway.tracing import names


class Measures:
    """One value each as a request ends; of models that are not there, nothing."""

    def __init__(self, meter: Meter) -> None:
        def seconds(name: str, text: str) -> None:
            self._histograms[name] = meter.create_histogram(
                name, "s", text, explicit_bucket_boundaries_advisory=names.SECONDS_BOUNDS
            )

        self._histograms = {
            names.USAGE: meter.create_histogram(
                names.USAGE,
                "{token}",
                "Tokens of a request.",
                explicit_bucket_boundaries_advisory=names.TOKEN_BOUNDS,
            )
        }
        seconds(names.REQUEST_DURATION, "Time from a request to the end of its answer.")
        seconds(names.FIRST_AFTER, "Time from a request to the first of its answer.")
        seconds(names.EACH_AFTER, "Time for each token after the first.")

    def ended(self, journey: Journey) -> None:
        if not journey.model:
            return
        facts = {
            names.OPERATION: journey.operation,
            names.PROVIDER: "roundhouse",
            names.REQUEST_MODEL: journey.model,
            names.RESPONSE_MODEL: journey.model,
        }
        failed = {} if journey.error is None else {names.ERROR: journey.error}
        self._histograms[names.REQUEST_DURATION].record(journey.seconds, facts | failed)
        if journey.error is None:
            self._answered(journey, facts)

    def _answered(self, journey: Journey, facts: dict[str, str]) -> None:
        used = {"input": journey.prompt_tokens, "output": journey.completion_tokens}
        for kind, count in used.items():
            self._histograms[names.USAGE].record(count, facts | {names.KIND_OF_TOKENS: kind})
        if journey.first_at is None:
            return
        first = journey.first_at - journey.arrival.at
        self._histograms[names.FIRST_AFTER].record(first, facts)
        if journey.most_completion_tokens > 1:
            each = journey.decode_seconds / (journey.most_completion_tokens - 1)
            self._histograms[names.EACH_AFTER].record(each, facts)
