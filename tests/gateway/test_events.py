import asyncio
from contextlib import aclosing

import pytest

from gateway.events import MAX_EVENTS, Events
from gateway.pool import ModelStatus

PATIENCE = 5


class Models(dict):
    """The statuses that a test sets."""

    def put(self, model: str, state: str, fraction: float = 0.0) -> None:
        self[model] = ModelStatus(model, state=state, fraction=fraction)


@pytest.fixture
def models() -> Models:
    models = Models()
    models.put("a", "unloaded")
    return models


async def heard(listener) -> list[tuple[str, str | None]]:
    """All that is there to be read, up to the end that closing it makes."""
    async with aclosing(listener.events(PATIENCE)) as events:
        return [(model, status and status.state) async for model, status in events]


async def next_of(listener) -> object:
    async with aclosing(listener.events(PATIENCE)) as events:
        return await anext(events)


async def test_a_change_is_told_once(models):
    """And what stays as it is, not at all."""
    events = Events(lambda: dict(models))
    with events.listen() as listener:
        models.put("a", "loading")
        events.changed()
        events.changed()
        models.put("a", "loaded")
        events.changed()

        first = await next_of(listener)
        second = await next_of(listener)

    assert (first[0], first[1].state) == ("a", "loading")
    assert (second[0], second[1].state) == ("a", "loaded")


async def test_a_load_tells_how_far_it_is(models):
    """By itself, as nothing else happens meanwhile."""
    events = Events(lambda: dict(models))
    models.put("a", "loading", 0.1)
    with events.listen() as listener:
        models.put("a", "loading", 0.5)

        _, status = await next_of(listener)
    events.close()

    assert status.fraction == 0.5


async def test_a_new_model_changes_the_list(models):
    """Clients then ask for the list again."""
    events = Events(lambda: dict(models))
    with events.listen() as listener:
        models.put("b", "unloaded")
        events.changed()

        assert await next_of(listener) == ("*", None)


async def test_whoever_does_not_read_is_let_go(models):
    """And what was kept for it is dropped, while others go on listening."""
    events = Events(lambda: dict(models))
    with events.listen() as slow, events.listen() as other:
        for n in range(MAX_EVENTS + 1):
            models.put("a", "loaded" if n % 2 == 0 else "unloaded")
            events.changed()
            await next_of(other)

        assert await heard(slow) == []
        models.put("a", "draining")
        events.changed()
        assert (await next_of(other))[1].state == "draining"
    events.close()


async def test_closing_ends_every_listener(models):
    """A server that takes its leave does not wait for them."""
    events = Events(lambda: dict(models))
    with events.listen() as early:
        events.close()
        with events.listen() as late:
            assert await asyncio.gather(heard(early), heard(late)) == [[], []]


async def test_nobody_looks_while_nobody_listens():
    """State changes on the hot path cost nothing then."""

    def look() -> dict[str, ModelStatus]:
        raise AssertionError

    Events(look).changed()
