"""Streaming clients of /v1/completions, the same for every server: closed loops and open ones."""

import asyncio
import json
import random
import time
from dataclasses import dataclass, field

import httpx
from replies import Reply


@dataclass
class Load:
    """What each request asks. No two prompts begin alike, so that no prefix is ever known."""

    url: str
    model: str
    vocab_size: int
    num_prompt: int = 128
    num_new: int = 64
    _random: random.Random = field(default_factory=lambda: random.Random(0))

    async def closed(self, num_clients: int, requests_each: int) -> list[Reply]:
        """So many clients, each of which asks again as soon as it was answered."""
        async with self._client() as client:

            async def ask_again_and_again() -> list[Reply]:
                return [await self.ask(client) for _ in range(requests_each)]

            answered = await asyncio.gather(*(ask_again_and_again() for _ in range(num_clients)))
        return [reply for replies in answered for reply in replies]

    async def open(self, requests_per_second: float, num_requests: int) -> list[Reply]:
        """A request every so often, whether the earlier ones are answered or not."""
        async with self._client() as client:

            async def ask_at(index: int) -> Reply:
                await asyncio.sleep(index / requests_per_second)
                return await self.ask(client)

            return await asyncio.gather(*(ask_at(index) for index in range(num_requests)))

    async def warm_up(self) -> None:
        """Loads the model, and lets the server learn how fast it is."""
        await self.closed(num_clients=1, requests_each=2)

    async def ask(self, client: httpx.AsyncClient) -> Reply:
        """Raises what httpx raises for a server that refuses or hangs up."""
        body = {
            "model": self.model,
            "prompt": [
                self._random.randrange(256, self.vocab_size) for _ in range(self.num_prompt)
            ],
            "max_tokens": self.num_new,
            "temperature": 0,
            "ignore_eos": True,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        asked, pieces, num_tokens = time.perf_counter(), [], 0
        async with client.stream("POST", "/v1/completions", json=body) as response:
            response.raise_for_status()
            async for line in response.aiter_lines():
                if not line.startswith("data: {"):
                    continue
                moment, chunk = time.perf_counter(), json.loads(line.removeprefix("data: "))
                if any(choice["text"] for choice in chunk["choices"]):
                    pieces.append(moment)
                num_tokens = (chunk.get("usage") or {}).get("completion_tokens", num_tokens)
        return Reply(asked, pieces, num_tokens or len(pieces))

    def _client(self) -> httpx.AsyncClient:
        # llama-server may close a connection while the next request is sent on it
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        return httpx.AsyncClient(base_url=self.url, timeout=600, limits=limits)
