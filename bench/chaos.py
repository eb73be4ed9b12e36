"""A real gateway under random requests, disconnects, unloads, pins and killed workers, for minutes.

    python bench/chaos.py --seconds 180 --seed 1

Every request must end: with all of its text, with a refusal, or with an error event. In the end
nobody waits, nothing is leased or paused, the models say what they said at first, and memory is what
it was when each of them had been loaded once.
"""

import argparse
import asyncio
import json
import os
import random
import re
import signal
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import psutil
from figures import Row
from harness import Gateway, gateway

from engine.inspect import inspect

FIXTURES = Path(__file__).parents[1] / "tests/fixtures"
FAMILIES = ("hunyuan-dense", "qwen3-dense", "olmo2-postnorm", "gemma3-swa", "gptoss-mxfp4")
NUM_CLIENTS = 12
PROMPT = "one two three"
QUIET_SECONDS = 60
SETTINGS = """
max_wait_seconds = 0.3
image_cache = "off"
[pool]
drain_seconds = 0.1
min_dwell_seconds = 0.05
[limits]
queue_per_model = 6
keep_alive_seconds = 0.2
wait_timeout_seconds = 20
"""


@dataclass
class Chaos:
    """Clients and troublemakers of one gateway. ended: how many requests ended in which way."""

    running: Gateway
    rng: random.Random
    client: httpx.AsyncClient
    ended: Counter[str] = field(default_factory=Counter)
    is_over: bool = False

    async def ask_on(self) -> None:
        while not self.is_over:
            await self.ask(self.rng.choice(FAMILIES), self.rng.choice((1, 8, 60, 400, 1500)))

    async def ask(self, model: str, max_tokens: int) -> None:
        """A stream or a plain request; a third of the clients lose patience."""
        request = asyncio.ensure_future(self._complete(model, max_tokens))
        if self.rng.random() < 1 / 3:
            done, _ = await asyncio.wait({request}, timeout=self.rng.expovariate(2))
            request.cancel()
            await asyncio.wait({request})
            if not done:
                self.ended["left"] += 1
                return
        self.ended[await request] += 1

    async def _complete(self, model: str, max_tokens: int) -> str:
        body = _asking(model, max_tokens)
        if self.rng.random() < 0.1:
            body["keep_alive"] = self.rng.choice((0, "1s", -1))
        if self.rng.random() < 0.5:
            reply = await self.client.post("/v1/completions", json=body)
            answer = reply.json()
            error = answer.get("error")
            if error:
                return f"{reply.status_code} {error['code'] or error['type']}"
            return "whole" if answer["usage"]["completion_tokens"] == max_tokens else "CUT"
        async with self.client.stream("POST", "/v1/completions", json=body | STREAM) as reply:
            if reply.status_code != 200:
                error = json.loads(await reply.aread())["error"]
                return f"{reply.status_code} {error['code'] or error['type']}"
            lines = [line async for line in reply.aiter_lines() if line.startswith("data: ")]
        if lines and '"error"' in lines[-1]:
            return "error event"
        if not lines or lines[-1] != "data: [DONE]":
            return "LOST"
        usage = json.loads(lines[-2].removeprefix("data: "))["usage"]
        return "whole" if usage["completion_tokens"] == max_tokens else "CUT"

    async def trouble(self) -> None:
        """Something every fifth of a second; a worker dies every ten seconds or so."""
        while not self.is_over:
            await asyncio.sleep(self.rng.expovariate(5))
            model, lot = self.rng.choice(FAMILIES), self.rng.random()
            if lot < 0.02:
                self._kill("engine.worker" if lot < 0.015 else "engine.text")
            elif lot < 0.3:
                await self._say("/models/unload", model, force=self.rng.random() < 0.5)
            elif lot < 0.4:
                await self._say("/models/load", model)
            elif lot < 0.45:
                await self._say("/v1/models/pin", model)
            else:
                await self._say("/v1/models/unpin", model)

    def _kill(self, module: str) -> None:
        """Unless it is just being started anew."""
        for child in self.running.process.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if module in child.cmdline():
                    os.kill(child.pid, signal.SIGKILL)
                    self.ended[f"killed {module}"] += 1

    async def _say(self, route: str, model: str, **more: object) -> None:
        reply = await self.client.post(route, json={"model": model, **more})
        self.ended[f"{route} {reply.status_code}"] += 1

    async def settle(self) -> None:
        """Unloads all, and waits until nothing is left of anything. Raises TimeoutError."""
        for model in FAMILIES:
            await self._say("/v1/models/unpin", model)
            await self._say("/models/unload", model)
        async with asyncio.timeout(QUIET_SECONDS):
            while not await self._is_quiet():  # noqa: ASYNC110  # it is another process's
                await asyncio.sleep(0.1)

    async def _is_quiet(self) -> bool:
        models = (await self.client.get("/v1/models")).json()["data"]
        metrics = (await self.client.get("/metrics")).text
        held = re.search(r'planned_bytes{device="cpu",kind="models"} (\S+)', metrics)
        return (
            all(m["state"] == "unloaded" and not m["leases"] + m["waiting"] for m in models)
            and held is not None
            and float(held[1]) == 0
        )

    async def texts(self) -> dict[str, str]:
        """What each model says."""
        said = {}
        for model in FAMILIES:
            reply = await self.client.post("/v1/completions", json=_asking(model, 16))
            said[model] = reply.raise_for_status().json()["choices"][0]["text"]
        return said


STREAM = {"stream": True, "stream_options": {"include_usage": True}}


def _asking(model: str, max_tokens: int) -> dict[str, object]:
    body = {"model": model, "prompt": PROMPT, "max_tokens": max_tokens, "temperature": 0}
    return body | {"ignore_eos": True}


async def run(running: Gateway, args: argparse.Namespace) -> list[str]:
    """What was wrong."""
    async with httpx.AsyncClient(base_url=running.url, timeout=120) as client:
        chaos = Chaos(running, random.Random(args.seed), client)
        first = await chaos.texts()
        await chaos.settle()
        base = running.rss()
        clients = [asyncio.create_task(chaos.ask_on()) for _ in range(NUM_CLIENTS)]
        troublemaker = asyncio.create_task(chaos.trouble())
        await asyncio.sleep(args.seconds)
        chaos.is_over = True
        wrong = []
        try:
            async with asyncio.timeout(QUIET_SECONDS):
                await asyncio.gather(*clients, troublemaker)
            await chaos.settle()
        except TimeoutError:
            stuck = sum(not task.done() for task in clients)
            wrong.append(f"{stuck} requests never ended: {running.states()}")
        else:
            if await chaos.texts() != first:
                wrong.append("a model says something else than at first")
            await chaos.settle()
        print(*sorted(chaos.ended.items()), sep="\n")
        wrong += _grown(base, running.rss())
    return wrong + [f"{chaos.ended[how]} {how}" for how in ("LOST", "CUT") if chaos.ended[how]]


def _grown(before: Sequence[Row], after: Sequence[Row]) -> list[str]:
    """Processes that hold a fifth more than before."""
    print(f"before: {before}\nafter:  {after}")
    sizes = [{row["process"]: row["RSS MiB"] for row in rows} for rows in (before, after)]
    common = sizes[0].keys() & sizes[1].keys()
    return [f"{name} has grown" for name in common if sizes[1][name] > 1.2 * sizes[0][name]]


def _memory(names: Sequence[str]) -> int:
    """For the largest model and half of another."""
    cards = [inspect(FIXTURES / name / "hf", "auto") for name in names]
    return int(1.5 * max(c.footprints[0].total(c.context_length) for c in cards))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with TemporaryDirectory() as name:
        folder = Path(name)
        for model in FAMILIES:
            (folder / model).symlink_to(FIXTURES / model / "hf")
        config = folder / "roundhouse.toml"
        config.write_text(SETTINGS)
        memory = str(_memory(FAMILIES))
        with gateway(folder, memory, "auto", set(FAMILIES), ("--config", str(config))) as running:
            wrong = asyncio.run(run(running, args))
    if wrong:
        raise SystemExit(f"wrong: {wrong}")


if __name__ == "__main__":
    main()
