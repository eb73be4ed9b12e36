"""Clients of a running gateway that ask for many models, and what its metrics and log say."""

import asyncio
import json
import re
import shutil
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from engine.inspect import inspect
from gateway_process import ROOT, Gateway, eventually

PROMPT = "one two three"

_LIMITS = httpx.Limits(max_connections=None)
_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$")


@dataclass
class Reply:
    """A streamed completion as its client saw it. `error`: the envelope it ended with, if it did."""

    text: str = ""
    comments: list[str] = field(default_factory=list)
    usage: dict[str, Any] = field(default_factory=dict)
    logprobs: list[float] = field(default_factory=list)
    finish_reason: str | None = None
    error: dict[str, Any] | None = None
    began_at: float = 0.0
    ended_at: float = 0.0

    def read(self, line: str) -> None:
        if line.startswith(":"):
            self.comments.append(line)
        elif line.startswith("data: {"):
            self._add(json.loads(line.removeprefix("data: ")))

    def _add(self, chunk: dict[str, Any]) -> None:
        self.error = chunk.get("error")
        self.usage = chunk.get("usage") or {}
        for choice in chunk.get("choices", ()):
            self.began_at = self.began_at or time.monotonic()
            self.text += choice["text"]
            self.logprobs += (choice.get("logprobs") or {}).get("token_logprobs", [])
            self.finish_reason = choice["finish_reason"]


def client_of(gateway: Gateway) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=gateway.url, timeout=60, limits=_LIMITS)


async def follow(
    client: httpx.AsyncClient,
    model: str,
    max_tokens: int,
    *,
    prompt: str = PROMPT,
    begun: asyncio.Event | None = None,
    **settings: object,
) -> Reply:
    """Streams a greedy completion to its end. begun: set at the first of its text."""
    body = {"model": model, "prompt": prompt, "max_tokens": max_tokens, "temperature": 0}
    body |= {"ignore_eos": True, "stream": True, "stream_options": {"include_usage": True}}
    reply = Reply()
    async with client.stream("POST", "/v1/completions", json=body | settings) as response:
        assert response.status_code == 200, await response.aread()
        async for line in response.aiter_lines():
            reply.read(line)
            if begun is not None and reply.text:
                begun.set()
    reply.ended_at = time.monotonic()
    return reply


def metric(gateway: Gateway, name: str, **labels: str) -> float:
    """The sum of a metric's samples that have these labels."""
    total = 0.0
    for line in httpx.get(f"{gateway.url}/metrics").text.splitlines():
        found = _SAMPLE.match(line)
        if found and found[1] == name:
            has = dict(re.findall(r'(\w+)="([^"]*)"', found[2] or ""))
            total += float(found[3]) if labels.items() <= has.items() else 0.0
    return total


def logged(gateway: Gateway, *events: str) -> list[dict[str, Any]]:
    """The lines of the log that tell of these events."""
    lines = (line for line in gateway.log.read_text().splitlines() if line.startswith("{"))
    return [line for line in map(json.loads, lines) if line["event"] in events]


def collect(folder: Path, fixtures: Iterable[str]) -> Path:
    """The folder, with a copy of each fixture, folders under their fixture's name."""
    for fixture in fixtures:
        source = ROOT / "tests/fixtures" / fixture
        if source.is_dir():
            shutil.copytree(source, folder / source.parent.name)
        else:
            shutil.copy(source, folder)
    return folder


def needs(paths: Iterable[Path], max_context: int = 32768) -> list[int]:
    """Bytes that each of the models takes as it is loaded first."""
    cards = [inspect(path, "auto") for path in paths]
    return [c.footprints[0].total(min(c.context_length, max_context)) for c in cards]


def until_quiet(gateway: Gateway, models: Sequence[str]) -> None:
    """Waits until nobody uses these models or waits for them."""

    def is_quiet() -> bool:
        listed = httpx.get(f"{gateway.url}/v1/models").json()["data"]
        return not any(m["leases"] or m["waiting"] for m in listed if m["id"] in models)

    eventually(is_quiet)
