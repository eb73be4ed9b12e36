"""What requests came to, by model: counted once as each ends."""

from collections import Counter
from collections.abc import Iterable

from gateway.journey import Journey
from gateway.metrics.distribution import Distribution
from gateway.metrics.names import REQUESTS


class ModelRequests:
    """Of one model. outcomes: finish reasons of choices, and errors."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.seen = {name: Distribution(family.bounds) for name, family in REQUESTS.items()}

    def copy(self) -> "ModelRequests":
        other = ModelRequests()
        other.outcomes = self.outcomes.copy()
        other.seen = {name: seen.copy() for name, seen in self.seen.items()}
        return other

    def count(self, journey: Journey) -> None:
        if journey.error is not None:
            self.outcomes["abort" if journey.error == "abort" else "error"] += 1
            return
        self.outcomes.update(journey.finish_reasons or ["done"])
        for name, value in _measured(journey):
            self.seen[name].observe(value)


class Requests:
    """A `JourneyObserver`. by_model: ids of models that are there, or were when last asked."""

    def __init__(self) -> None:
        self.by_model: dict[str, ModelRequests] = {}

    def begun(self, journey: Journey) -> None:
        """Is counted when it ends."""

    def ended(self, journey: Journey) -> None:
        if not journey.model:
            return  # what clients make up as names of models must not become series
        if journey.model not in self.by_model:
            self.by_model[journey.model] = ModelRequests()
        self.by_model[journey.model].count(journey)

    def forget_others(self, known: Iterable[str]) -> None:
        """Lets go of models that are not there any more."""
        for gone in self.by_model.keys() - set(known):
            del self.by_model[gone]


def _measured(journey: Journey) -> Iterable[tuple[str, float]]:
    parts = journey.parts()
    yield "request", journey.seconds
    yield "prepare", parts["prepare"]
    yield "queue", parts["queue"]
    yield "prompt_tokens", journey.prompt_tokens
    if journey.first_at is None:
        return  # vectors have no first token
    yield "first", journey.first_at - journey.arrival.at
    yield "prefill", parts["prefill"]
    yield "decode", parts["decode"]
    yield "inference", parts["prefill"] + parts["decode"]
    yield "generated_tokens", journey.completion_tokens
    yield "longest_tokens", journey.most_completion_tokens
    yield "choices", journey.num_choices
    if journey.max_tokens is not None:
        yield "max_tokens", journey.max_tokens
    if journey.most_completion_tokens > 1:
        yield "token", parts["decode"] / (journey.most_completion_tokens - 1)
