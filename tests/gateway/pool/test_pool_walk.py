import asyncio
from dataclasses import dataclass, field

import pytest

from engine.api import EngineError
from gateway.pool import Lease, Pool, PoolError, PoolModel
from tests.gateway.fakes import FakeEngine
from tests.gateway.pool.histories import History, Op, make_history


@dataclass
class Driver:
    """Plays a history to a real pool over a fake engine, and checks what can be seen from outside.

    Each request is a task that holds its lease until its event is set.
    """

    history: History
    now: float = 0.0
    tasks: dict[int, asyncio.Task[None]] = field(default_factory=dict)
    leases: dict[int, Lease] = field(default_factory=dict)
    done: dict[int, asyncio.Event] = field(default_factory=dict)
    refused: list[PoolError] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.engine = FakeEngine(self.history.cards.values(), self.history.devices)
        self.engine.hold_loads = self.engine.hold_evictions = self.engine.hold_pauses = True
        groups = self.history.groups
        self.pool = Pool(self.engine, self.history.limits, lambda: self.now, groups)

    async def play(self, op: Op) -> None:
        getattr(self, op.kind)(op)
        await turn_loop()
        self.check()

    def request(self, op: Op) -> None:
        key = op.choose(sorted(self.history.cards))
        number = len(self.done)
        self.done[number] = asyncio.Event()
        keep_alive = (None, None, None, None, 0.0, 3.0, -1.0)[int(op.also * 7)]
        self.tasks[number] = asyncio.create_task(self._use(number, key, keep_alive))

    async def _use(self, number: int, key: str, keep_alive: float | None) -> None:
        model = PoolModel(key, self.history.cards[key], key, terms=self.history.terms[key])
        try:
            async with self.pool.lease(model, keep_alive=keep_alive) as lease:
                self.leases[number] = lease
                await self.done[number].wait()
        except PoolError as error:
            self.refused.append(error)
        finally:
            self.leases.pop(number, None)
            del self.tasks[number]

    def cancel(self, op: Op) -> None:
        if (number := op.choose(sorted(self.tasks))) is not None:
            self.tasks[number].cancel()

    def release(self, op: Op) -> None:
        if (number := op.choose(sorted(self.leases))) is not None:
            self.done[number].set()

    def finish_load(self, op: Op) -> None:
        if path := op.choose(self._loading()):
            self.engine.finish_load(path)

    def fail_load(self, op: Op) -> None:
        if path := op.choose(self._loading()):
            self.engine.fail_load(path, EngineError("bad_checkpoint", "scripted"))

    def _loading(self) -> list[str]:
        return [m.order.path for m in self.engine.models.values() if m.is_loading]

    def finish_eviction(self, op: Op) -> None:
        if (handle := op.choose(sorted(self.engine._evicting))) is not None:
            self.engine.finish_eviction(self.engine.models[handle].order.path)

    def finish_pause(self, op: Op) -> None:
        if (handle := op.choose(sorted(self.engine._pausing))) is not None:
            self.engine.finish_pause(self.engine.models[handle].order.path)

    def lose(self, op: Op) -> None:
        device = op.choose([d.name for d in self.history.devices])
        self.engine.lose(device)
        for number, lease in self.leases.items():
            if device in lease.place:
                self.done[number].set()

    def restore(self, op: Op) -> None:
        if device := op.choose(sorted(self.engine._down)):
            self.engine.restore(device)
            self.pool.tick()

    def advance(self, op: Op) -> None:
        self.now += 5 * op.pick
        self.pool.tick()

    def jump(self, op: Op) -> None:
        self.now += 1000 * op.pick
        self.pool.tick()

    def pin(self, op: Op) -> None:
        self.pool.pin(op.choose(sorted(self.history.cards)), op.also < 0.3)

    def unload(self, op: Op) -> None:
        self.pool.unload(op.choose(sorted(self.history.cards)), force=op.also < 0.5)

    async def finish(self) -> None:
        for _ in range(200):
            if not self.tasks and not self._is_moving():
                return
            for kind in (
                "restore",
                "finish_load",
                "finish_pause",
                "finish_eviction",
                "release",
                "advance",
            ):
                await self.play(Op(kind, 0.4))
        raise AssertionError(f"still waiting: {self.tasks}")

    def _is_moving(self) -> bool:
        return bool(self._loading() or self.engine._evicting or self.engine._pausing)

    def check(self) -> None:
        assert not self.engine.bugs
        for lease in self.leases.values():
            status = self.pool.status(lease.model)
            assert status.handle == lease.handle, "a leased model was replaced (2, 9)"
            assert status.state in {"loaded", "draining", "paused", "loading"}
            model = self.engine.models[lease.handle]
            assert model.is_loaded or status.state not in {"loaded", "draining"}
            assert lease.handle not in self.engine.evictions
        for status in self.pool.snapshot().values():
            assert status.leases == sum(x.model == status.key for x in self.leases.values())


async def turn_loop() -> None:
    """Lets everything that is ready to run do so, without any time passing."""
    for _ in range(8):
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    "block", [*range(2), *(pytest.param(block, marks=pytest.mark.slow) for block in range(2, 70))]
)
async def test_the_real_pool_keeps_the_invariants(block: int):
    """The policy's histories, played to the pool with a fake engine: none lost, none cut."""
    for seed in range(block * 30, (block + 1) * 30):
        history = make_history(seed, num_ops=100)
        driver = Driver(history)

        for op in history.ops:
            await driver.play(op)

        await driver.finish()
        await driver.pool.close()
