"""Ten models behind memory for two, and crowds that want them."""

import asyncio
import random
from collections.abc import Callable, Sequence

import httpx
import pytest

from crowd import (
    Reply,
    client_of,
    follow,
    logged,
    metric,
    needs,
    until_quiet,
)
from gateway_process import Gateway
from recurrent_models import RECURRENT
from ten_models import TEN, collect_ten

NUM_CLIENTS = 16
NUM_REQUESTS = 100
MAX_WAIT = 0.5
HERD = 200
PROMPTS = ("one two three", "once upon a time", "x = 1")
SHARED_PROMPT = "the quick brown fox jumps over the lazy dog " * 8


@pytest.fixture(scope="module")
def gateway(launch: Callable[..., Gateway], tmp_path_factory: pytest.TempPathFactory) -> Gateway:
    """Memory for any two of the models, and for no three."""
    folder = tmp_path_factory.mktemp("ten")
    sizes = needs(collect_ten(folder))
    assert 2 * max(sizes) < 3 * min(sizes)
    config = folder / "roundhouse.toml"
    config.write_text(f"max_wait_seconds = {MAX_WAIT}\n[pool]\nmin_dwell_seconds = 0\n")
    return launch(folder, "--config", str(config), "--memory", str(2 * max(sizes)))


@pytest.fixture(scope="module")
def alone(gateway: Gateway) -> dict[tuple[str, str], str]:
    """What each model says to each prompt when nobody else asks for anything."""

    async def ask() -> dict[tuple[str, str], str]:
        async with client_of(gateway) as client:
            wanted = [(model, prompt) for model in TEN for prompt in PROMPTS]
            return {(m, p): (await follow(client, m, 8, prompt=p)).text for m, p in wanted}

    return asyncio.run(ask())


def in_zipf_order(models: Sequence[str]) -> list[str]:
    """The most popular is asked for ten times as often as the least."""
    weights = [1 / rank for rank in range(1, len(models) + 1)]
    return random.Random(6).choices(models, weights, k=NUM_REQUESTS)


def in_turn(models: Sequence[str]) -> list[str]:
    """Each is asked for when it has been away the longest."""
    return [models[number % len(models)] for number in range(NUM_REQUESTS)]


@pytest.mark.parametrize("order", [in_zipf_order, in_turn])
async def test_a_crowd_is_served(gateway, alone, order):
    """None lost, none cut, each within its bound, and all say what they say alone.

    The bound: with all other models ahead, each takes max_wait and a swap at most.
    """
    waiting = iter(enumerate(order(TEN)))
    replies: dict[int, tuple[str, str, Reply]] = {}
    seconds: list[float] = []
    loop = asyncio.get_running_loop()

    async def ask_on(client: httpx.AsyncClient) -> None:
        for number, model in waiting:
            prompt, asked_at = PROMPTS[number % len(PROMPTS)], loop.time()
            replies[number] = model, prompt, await follow(client, model, 8, prompt=prompt)
            seconds.append(loop.time() - asked_at)

    async with client_of(gateway) as client:
        await asyncio.gather(*(ask_on(client) for _ in range(NUM_CLIENTS)))

    assert len(replies) == NUM_REQUESTS
    assert {reply.finish_reason for _, _, reply in replies.values()} == {"length"}
    assert [(r.text, m) for m, p, r in replies.values()] == [
        (alone[m, p], m) for m, p, _ in replies.values()
    ]
    assert max(seconds) <= len(TEN) * (MAX_WAIT + longest_swap(gateway))
    assert not logged(gateway, "request_refused", "requests_ended", "device_lost")


def longest_swap(gateway: Gateway) -> float:
    """Seconds that making room and loading took at most."""
    steps = ("model_evicted", "model_paused", "model_loaded")
    longest = [max((e["seconds"] for e in logged(gateway, step)), default=0.0) for step in steps]
    return sum(longest)


async def test_a_herd_makes_one_load(gateway):
    """Simultaneous requests for a model that is not in memory load it once, and all are served."""
    cold, *others = TEN
    async with client_of(gateway) as client:
        for model in others[:2]:
            await follow(client, model, 1)
        assert gateway.state(cold) == "unloaded"
        before = metric(gateway, "roundhouse_loads_total", model=cold)

        replies = await asyncio.gather(*(follow(client, cold, 2) for _ in range(HERD)))

    assert {reply.finish_reason for reply in replies} == {"length"}
    assert metric(gateway, "roundhouse_loads_total", model=cold) == before + 1


@pytest.mark.parametrize("asked", [TEN[3], *RECURRENT])
async def test_a_known_prefix_survives_swaps(gateway, asked):
    """A model that was evicted and is back knows its prompt, and says the same with the same odds.

    Whether it keeps tokens, states or both.
    """
    others = [model for model in TEN if model != asked]
    ask = {"prompt": SHARED_PROMPT, "logprobs": 0}
    async with client_of(gateway) as client:
        first = await follow(client, asked, 8, **ask)
        again = await follow(client, asked, 8, **ask)
        for model in others:  # as a rule the second makes it go; a younger one may go before it
            await follow(client, model, 1)
            if gateway.state(asked) == "unloaded":
                break
        assert gateway.state(asked) == "unloaded"
        back = await follow(client, asked, 8, **ask)

    assert cached(first) == 0
    assert cached(back) == cached(again) > 0
    assert (back.text, back.logprobs) == (again.text, again.logprobs)
    assert len(back.logprobs) == 8
    until_quiet(gateway, TEN)


def cached(reply: Reply) -> int:
    return reply.usage["prompt_tokens_details"]["cached_tokens"]
