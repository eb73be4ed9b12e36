import asyncio
from collections.abc import Callable

from structlog.testing import capture_logs

from engine.api import EngineError, LoadOrder, LoadReport
from tests.gateway.fakes import FakeEngine
from tests.gateway.live import Live, add_model, serving

PRELOAD = {"preload": True}


class Announcing(FakeEngine):
    """Says when a load is ordered, and leaves its end to the test."""

    def __init__(self) -> None:
        super().__init__(hold_loads=True)
        self.ordered: asyncio.Queue[str] = asyncio.Queue()

    async def load(self, order: LoadOrder, progress: Callable[[float], None]) -> LoadReport:
        self.ordered.put_nowait(order.path)
        return await super().load(order, progress)


async def preloaded(live: Live) -> list[str]:
    """Waits until the start is over, and gives the files that were loaded, in order."""
    await asyncio.gather(*live.services.preloading)
    return [order.path.rsplit("/", 1)[-1] for order in live.engine.loads]


async def test_models_are_loaded_at_the_start_in_the_order_of_the_settings(fake_engine, tmp_path):
    """Those that say so, and no others, before anybody asks."""
    for name in ("a", "b", "c"):
        add_model(fake_engine, tmp_path, name, weights_bytes=300)
    settings = {"c": PRELOAD, "b": {"pin": True}, "a": PRELOAD}
    async with serving(fake_engine, tmp_path, model=settings) as live:
        assert await preloaded(live) == ["c.gguf", "a.gguf"]


async def test_a_start_evicts_nobody(fake_engine, tmp_path):
    """What does not fit beside those before it is left for its first request; what fits goes on."""
    for name, size in (("a", 600), ("b", 500), ("c", 400)):
        add_model(fake_engine, tmp_path, name, weights_bytes=size)
    settings = dict.fromkeys(("a", "b", "c"), PRELOAD)
    with capture_logs() as lines:
        async with serving(fake_engine, tmp_path, model=settings) as live:
            assert await preloaded(live) == ["a.gguf", "c.gguf"]

    skipped = [line["model"] for line in lines if line["event"] == "preload_skipped"]
    assert skipped == ["b"]
    assert not fake_engine.evictions


async def test_what_cannot_be_preloaded_harms_nobody(tmp_path):
    """No such model, one that is too large, one that fails: each is logged, and the next has its go."""
    engine = Announcing()
    for name, size in (("huge", 2000), ("bad", 300), ("good", 300)):
        add_model(engine, tmp_path, name, weights_bytes=size)
    settings = dict.fromkeys(("gone", "huge", "bad", "good"), PRELOAD)
    with capture_logs() as lines:
        async with serving(engine, tmp_path, model=settings) as live, asyncio.timeout(5):
            error = EngineError("bad_checkpoint", "cut short")
            engine.fail_load(await engine.ordered.get(), error)
            engine.finish_load(await engine.ordered.get())
            assert await preloaded(live) == ["bad.gguf", "good.gguf"]

    failed = [line["model"] for line in lines if line["event"] == "preload_failed"]
    assert failed == ["gone", "huge", "bad"]


async def test_the_server_is_ready_while_it_preloads(tmp_path):
    """A load at the start keeps no request waiting that needs no model."""
    engine = Announcing()
    add_model(engine, tmp_path, "a")
    async with serving(engine, tmp_path, model={"a": PRELOAD}) as live, asyncio.timeout(5):
        await engine.ordered.get()

        reply = await live.http.get("/v1/models")

        assert reply.json()["data"][0]["state"] == "loading"
