"""What takes minutes to see: a herd of five hundred, alternation under load, a thousand swaps."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import psutil
import pytest

from crowd import client_of, follow, metric, needs
from gateway_process import Gateway
from ten_models import TEN, collect_ten

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

HERD = 500
RATE, SECONDS = 50, 20
WARM_UP, SWAPS = 200, 1000
PROCESSES = ("gateway", "engine.worker", "engine.text")


@pytest.fixture(scope="module")
def gateway(launch: Callable[..., Gateway], tmp_path_factory: pytest.TempPathFactory) -> Gateway:
    """Memory for one model, and a queue for a herd."""
    folder = tmp_path_factory.mktemp("minutes")
    size = max(needs(collect_ten(folder)))
    config = folder / "roundhouse.toml"
    config.write_text("[limits]\nqueue_per_model = 600\n")
    return launch(folder, "--config", str(config), "--memory", str(size))


async def test_a_herd_of_five_hundred_makes_one_load(gateway):
    """All are served by the load that the first of them ordered."""
    cold, other = TEN[:2]
    async with client_of(gateway) as client:
        await follow(client, other, 1)
        before = metric(gateway, "roundhouse_loads_total", model=cold)
        replies = await asyncio.gather(*(follow(client, cold, 2) for _ in range(HERD)))

    assert [reply.finish_reason for reply in replies] == ["length"] * HERD
    assert metric(gateway, "roundhouse_loads_total", model=cold) == before + 1


async def test_alternation_at_fifty_requests_a_second(gateway):
    """Both models progress, and less than half of the time goes into swapping."""
    models = TEN[2:4]
    async with client_of(gateway) as client:
        for model in models:
            await follow(client, model, 1)
        began_with = swap_seconds(gateway)
        started = asyncio.get_running_loop().time()
        requests = []
        for number in range(RATE * SECONDS):
            requests.append(asyncio.create_task(follow(client, models[number % 2], 4)))
            await asyncio.sleep(started + number / RATE - asyncio.get_running_loop().time())
        replies = await asyncio.gather(*requests)
        taken = asyncio.get_running_loop().time() - started

    share = (swap_seconds(gateway) - began_with) / taken
    print(f"{taken:.1f} s, {share:.1%} of it swapping")  # noqa: T201 (the figure is asked for)
    assert {reply.finish_reason for reply in replies} == {"length"}
    assert share < 0.5


async def test_memory_is_flat_over_a_thousand_swaps(gateway):
    """Resident memory and open files of every process stay what they are after warming up."""
    async with client_of(gateway) as client:
        for number in range(WARM_UP):
            await follow(client, TEN[number % len(TEN)], 1)
        first = {name: Taken.by(gateway, name) for name in PROCESSES}
        loads = metric(gateway, "roundhouse_loads_total")
        for number in range(SWAPS):
            await follow(client, TEN[number % len(TEN)], 1)

    assert metric(gateway, "roundhouse_loads_total") >= loads + SWAPS
    last = {name: Taken.by(gateway, name) for name in PROCESSES}
    print(*(f"{name}: {first[name]} -> {last[name]}" for name in PROCESSES), sep="\n")  # noqa: T201
    for name in PROCESSES:
        assert last[name].rss_bytes < 1.1 * first[name].rss_bytes, name
        assert last[name].num_fds <= first[name].num_fds + 2, name


@dataclass(frozen=True)
class Taken:
    """What a process holds of the machine."""

    rss_bytes: int
    num_fds: int

    @classmethod
    def by(cls, gateway: Gateway, name: str) -> "Taken":
        is_gateway = name == "gateway"
        process = psutil.Process(gateway.process.pid) if is_gateway else gateway.child(name)
        return cls(process.memory_info().rss, process.num_fds())

    def __str__(self) -> str:
        return f"{self.rss_bytes / 2**20:.1f} MiB, {self.num_fds} files"


def swap_seconds(gateway: Gateway) -> float:
    return metric(gateway, "roundhouse_swap_seconds_total")
