import asyncio
from dataclasses import dataclass, field

import pytest

from engine.api import EngineError, LoadReport
from gateway.journey import Journey
from gateway.journeys import Journeys
from gateway.pool.actions import Close, Evict, Grant, Load

LOAD = Load(2, "new@1", ("cpu",), "dense", kv_tokens=16, bytes=500)
EVICT = Evict(1, "old@1", ("cpu",), makes_room_for="new@1")


@dataclass
class Heard:
    """A `JourneyObserver` that remembers."""

    begun_ones: list[Journey] = field(default_factory=list)
    ended_ones: list[Journey] = field(default_factory=list)

    def begun(self, journey: Journey) -> None:
        self.begun_ones.append(journey)

    def ended(self, journey: Journey) -> None:
        self.ended_ones.append(journey)


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def journeys(heard) -> Journeys:
    return Journeys([heard])


def test_who_waits_hears_of_what_makes_room(journeys):
    """Draining and evicting others for its model, its load and nothing of other models."""
    with journeys.track("chat", "new") as journey:
        journeys.follow(journey, "new", "new@1")
        journeys.on_action(Close(1, "old@1", "new@1", 1), 0.0)
        journeys.on_action(EVICT, 0.0)
        journeys.on_action(Evict(3, "third@1", ("cpu",), "fourth@1"), 0.0)
        journeys.on_evicted(EVICT, "room", 5.0)
        journeys.on_action(LOAD, 0.0)
        journeys.on_action(Grant(1, "new@1", 2, ("cpu",), 16), 0.0)
        journeys.on_loaded(LOAD, LoadReport(1, 1, 0.1))

    names = [event.name for event in journey.events]
    assert names == ["draining", "evicting", "evicted", "loading"]
    assert journey.events[1].facts == {"model": "old", "device": "cpu", "reason": "room"}
    assert len(journey.loads) == 1


def test_nothing_is_heard_after_the_end(journeys):
    """Nor is anything kept of it."""
    with journeys.track("chat", "new") as journey:
        journeys.follow(journey, "new", "new@1")
    journeys.on_action(LOAD, 0.0)

    assert not journey.events
    assert not journeys._by_key


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (EngineError("out_of_memory", "full"), "out_of_memory"),
        (asyncio.CancelledError(), "abort"),
        (GeneratorExit(), "abort"),
        (ValueError("bug"), "ValueError"),
    ],
)
def test_how_it_ended(journeys, heard, error, said):
    """By the error's code; who left aborted it. It is raised all the same."""
    with pytest.raises(type(error)), journeys.track("chat", "tiny"):
        raise error

    (journey,) = heard.ended_ones
    assert journey.error == said
    assert journey.ended_at is not None
    assert heard.begun_ones == [journey]
