import msgspec
import pytest

from engine.api import EngineError, Generation, LoadOrder, Run, TextPrompt, TextSource
from tests.gateway.fakes import FakeEngine, make_card


async def test_a_loaded_model_answers(fake_engine: FakeEngine):
    """What was prepared and loaded can be generated, delta by delta."""
    fake_engine.add(make_card("/m/a"))
    await fake_engine.load(LoadOrder(1, "cpu", "/m/a", "dense", 16), lambda _: None)
    prepared = await fake_engine.prepare(TextSource("/m/a", "d", 1000), TextPrompt("a b a"))
    run = Run(0, prepared.ticket, Generation(max_tokens=2))

    deltas = [delta async for delta in fake_engine.generate("cpu", 1, [run])]

    assert prepared.token_ids == [100, 101, 100]
    assert [delta.text for delta in deltas] == ["Hello", ", "]
    assert deltas[-1].finish_reason == "length"


async def test_an_unknown_handle_is_stale(fake_engine: FakeEngine):
    """A handle that is not loaded cannot generate."""
    with pytest.raises(EngineError) as error:
        async for _ in fake_engine.generate("cpu", 7, []):
            pass

    assert error.value.code == "stale_handle"


async def test_overcommitting_a_device_is_a_bug():
    """The fake holds its caller to the device's bytes, and remembers."""
    engine = FakeEngine([make_card("/m/a", weights_bytes=600)])
    await engine.load(LoadOrder(1, "cpu", "/m/a", "dense", 16), lambda _: None)

    with pytest.raises(AssertionError):
        await engine.load(LoadOrder(2, "cpu", "/m/a", "dense", 16), lambda _: None)

    assert engine.bugs == ["600 + 600 > 1000 bytes on cpu"]


async def test_a_paused_model_keeps_its_stream_and_goes_on(fake_engine: FakeEngine):
    """A stream waits while its model is paused, and loses nothing."""
    fake_engine.add(make_card("/m/a"))
    order = LoadOrder(1, "cpu", "/m/a", "dense", 16)
    await fake_engine.load(order, lambda _: None)
    deltas = fake_engine.generate("cpu", 1, [Run(0, 0, Generation(max_tokens=2))])
    first = await anext(deltas)

    await fake_engine.pause("cpu", 1)
    assert fake_engine.held_bytes("cpu") == 0
    await fake_engine.load(msgspec.structs.replace(order, resumes=True), lambda _: None)

    assert [first.text, *[delta.text async for delta in deltas]] == ["Hello", ", "]


async def test_resuming_what_is_not_paused_is_a_bug():
    """The fake holds its caller to the life of a model, and remembers."""
    engine = FakeEngine([make_card("/m/a")])
    order = LoadOrder(1, "cpu", "/m/a", "dense", 16)
    await engine.load(order, lambda _: None)

    with pytest.raises(AssertionError):
        await engine.load(msgspec.structs.replace(order, resumes=True), lambda _: None)

    assert engine.bugs == ["resuming 1, not paused"]
