"""Models on two real workers together: the same numbers as on one, and nothing left of what fails."""

import asyncio
import contextlib
import itertools
import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio

from engine.api import (
    Delta,
    Device,
    EngineError,
    Form,
    Generation,
    LoadOrder,
    LoadReport,
    Run,
    Sampling,
    TextSource,
    TokenPrompt,
)
from engine.client import LocalEngine
from tests.engine.fixture_models import COMMITTED

PLAIN = COMMITTED / "llama-plain/llama-plain-F32.gguf"
QUANTISED = COMMITTED / "llama-q/llama-q-Q8_0.gguf"
ONE_HEAD_OF_KEYS = (COMMITTED / "llama-rope3/hf", QUANTISED)
NOT_DIVIDED = COMMITTED / "olmo2-postnorm/hf"
PROMPT = [7, 61, 33, 5, 5, 18, 50, 64, 12, 90, 3, 44, 71, 29, 8, 66, 15, 90, 2, 37]
FIRST, SECOND = DEVICES = ("cpu:0", "cpu:1")
FAR = 1e-4

pytestmark = pytest.mark.asyncio(loop_scope="module")

_handles = itertools.count(1)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def engine() -> AsyncIterator[LocalEngine]:
    engine = LocalEngine([Device(name, 2**30) for name in DEVICES], "float32", threads=1)
    await engine.start()
    yield engine
    await engine.stop()


def order_of(path: Path, form: Form = "dense", *place: str) -> LoadOrder:
    device, *others = place or (FIRST,)
    return LoadOrder(next(_handles), device, str(path), form, 256, others=tuple(others))


async def load(engine: LocalEngine, order: LoadOrder) -> LoadReport:
    return await engine.load(order, lambda _: None)


async def evict(engine: LocalEngine, order: LoadOrder) -> None:
    await engine.evict(order.device, order.handle)


async def deltas(
    engine: LocalEngine, order: LoadOrder, max_tokens: int = 12, **sampling: Any
) -> AsyncIterator[Delta]:
    card = await engine.inspect(order.path)
    source = TextSource(card.path, card.digest, card.vocab_size)
    prepared = await engine.prepare(source, TokenPrompt(PROMPT))
    greedy = Sampling(temperature=0, **sampling)
    generation = Generation(max_tokens, sampling=greedy, ignore_eos=True)
    runs = [Run(0, prepared.ticket, generation)]
    async with contextlib.aclosing(engine.generate(order.device, order.handle, runs)) as said:
        async for delta in said:
            yield delta


async def said(engine: LocalEngine, order: LoadOrder) -> list[tuple[int, list[float]]]:
    """Every token, of the prompt and behind it, with log-probabilities."""
    found = []
    async for delta in deltas(engine, order, logprobs=3, prompt_logprobs=True):
        assert delta.failure is None
        for each in delta.logprobs:
            best = [top.logprob for top in each.top]
            found.append((each.token_id, [*([each.logprob] if each.logprob else []), *best]))
    return found


def are_near(some: list[tuple[int, list[float]]], others: list[tuple[int, list[float]]]) -> bool:
    if [token for token, _ in some] != [token for token, _ in others]:
        return False
    pairs = itertools.chain.from_iterable(
        zip(one, other, strict=True) for (_, one), (_, other) in zip(some, others, strict=True)
    )
    return all(abs(one - other) <= FAR for one, other in pairs)


@pytest.mark.parametrize(
    ("path", "form"),
    [
        (PLAIN, "dense"),
        (PLAIN, "tiled"),
        (ONE_HEAD_OF_KEYS[0], "dense"),
        (COMMITTED / "qwen3-dense/hf", "dense"),
        (COMMITTED / "mixtral-moe/hf", "dense"),
        (COMMITTED / "mixtral-moe/hf", "tiled"),
        (QUANTISED, "packed"),
    ],
)
async def test_two_workers_say_what_one_does(engine, path, form):
    """Each token, and how likely it was; each has a share of the weights and caches."""
    alone, spread = order_of(path, form), order_of(path, form, *DEVICES)
    whole, part = await load(engine, alone), await load(engine, spread)

    assert are_near(await said(engine, alone), await said(engine, spread))
    assert part.weights_bytes < whole.weights_bytes
    assert part.kv_bytes == whole.kv_bytes // (1 if path in ONE_HEAD_OF_KEYS else 2)
    await evict(engine, alone)
    await evict(engine, spread)


async def test_quantised_programs_stay_near_each_other(engine):
    """Activations of 8 bits are rounded in blocks, which are the same in a part."""
    alone, spread = order_of(QUANTISED, "tiled"), order_of(QUANTISED, "tiled", *DEVICES)
    await load(engine, alone)
    await load(engine, spread)

    one, other = await said(engine, alone), await said(engine, spread)
    assert are_near(one[: len(PROMPT)], other[: len(PROMPT)])
    await evict(engine, alone)
    await evict(engine, spread)


async def test_a_paused_model_goes_on_where_it_was(engine):
    """Its other parts are let go of, too, and come back with it."""
    order = order_of(PLAIN, "dense", *DEVICES)
    await load(engine, order)
    expected = [token async for d in deltas(engine, order, 40) for token in d.token_ids]
    found, stream = [], deltas(engine, order, 40)
    async for delta in stream:
        found += delta.token_ids
        if len(found) == 5:
            await engine.pause(FIRST, order.handle)
            resumed = LoadOrder(**{**_fields(order), "resumes": True})
            await load(engine, resumed)

    assert found == expected
    await evict(engine, order)


def _fields(order: LoadOrder) -> dict[str, Any]:
    return {name: getattr(order, name) for name in order.__struct_fields__}


async def test_groups_may_be_led_by_either(engine):
    """Two models that cross on the same devices, both busy, hold nobody up; nor a third beside them."""
    orders = [
        order_of(PLAIN, "dense", FIRST, SECOND),
        order_of(PLAIN, "tiled", SECOND, FIRST),
        order_of(PLAIN, "dense", SECOND),
    ]
    for order in orders:
        await load(engine, order)
    async with asyncio.timeout(60):
        found = await asyncio.gather(*(said(engine, order) for order in orders for _ in range(3)))

    assert all(are_near(found[0], each) for each in found)
    for order in orders:
        await evict(engine, order)


async def test_what_cannot_be_divided_is_refused(engine):
    """In words that name it; both workers have let go of it, and load others."""
    with pytest.raises(EngineError, match="cannot be spread over 2 devices") as error:
        await load(engine, order_of(NOT_DIVIDED, "dense", *DEVICES))
    assert error.value.code == "bad_checkpoint"

    for device in DEVICES:
        order = order_of(NOT_DIVIDED, "dense", device)
        await load(engine, order)
        await evict(engine, order)


async def test_what_one_worker_refuses_is_gone_from_both(engine):
    """More cache than there is memory for on any machine."""
    order = order_of(PLAIN, "dense", *DEVICES)
    large = LoadOrder(**{**_fields(order), "kv_tokens": 2**50})
    with pytest.raises(EngineError) as error:
        await load(engine, large)
    assert error.value.code == "out_of_memory"

    again = order_of(PLAIN, "dense", *DEVICES)
    await load(engine, again)
    await evict(engine, again)


async def test_a_cancelled_load_is_gone_from_both(engine):
    """Whenever it is cancelled."""
    for seconds in (0.0, 0.01, 0.05, 0.2):
        cancelled = order_of(PLAIN, "dense", *DEVICES)
        loading = asyncio.create_task(load(engine, cancelled))
        await asyncio.sleep(seconds)
        loading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await loading  # unless it was done
            await evict(engine, cancelled)

    assert not rooms()
    order = order_of(PLAIN, "dense", *DEVICES)
    await load(engine, order)
    assert await said(engine, order)
    await evict(engine, order)


async def test_ranks_can_meet_again_as_long_as_they_are_there(engine):
    """Their folder, which nobody else may enter, goes with the model."""
    order = order_of(PLAIN, "dense", *DEVICES)
    await load(engine, order)
    (room,) = rooms()
    assert room.stat().st_mode & 0o777 == 0o700

    await evict(engine, order)
    assert not rooms()


def rooms() -> list[Path]:
    return [*Path(tempfile.gettempdir()).glob(f"roundhouse-{os.getpid()}-*/group-*")]


@pytest.mark.parametrize("lost", [SECOND, pytest.param(FIRST, marks=pytest.mark.slow)])
async def test_losing_a_worker_ends_its_models_sequences(engine, lost):
    """Whether it leads or follows: a clear error, and what is left can be evicted and loaded anew."""
    order = order_of(PLAIN, "dense", *DEVICES)
    await load(engine, order)
    with pytest.raises(EngineError, match=r"was lost|died") as error:
        await hear_until_it_fails(engine, order, worker_of(lost))
    assert error.value.code == "worker_lost"

    again = order_of(PLAIN, "dense", *DEVICES)
    async with asyncio.timeout(60):
        await evict_insistently(engine, order)
        await load(engine, again)
    assert await said(engine, again)
    await evict(engine, again)
    assert not rooms()


async def hear_until_it_fails(
    engine: LocalEngine, order: LoadOrder, victim: psutil.Process
) -> None:
    """The victim is killed at the first token."""
    async for delta in deltas(engine, order, 200):
        if delta.failure:
            raise delta.failure.error()
        victim.kill()


async def evict_insistently(engine: LocalEngine, order: LoadOrder) -> None:
    """As the pool does: again, where a worker was lost meanwhile."""
    while True:
        with contextlib.suppress(EngineError):
            await evict(engine, order)
            return
        await asyncio.sleep(0.05)


def worker_of(device: str) -> psutil.Process:
    for child in psutil.Process().children():
        command = child.cmdline()
        if "engine.worker" in command and device in command:
            return child
    raise AssertionError(f"no worker of {device}")
