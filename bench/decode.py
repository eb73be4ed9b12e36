"""Tokens per second of each demo model, alone and with several streams at once."""

import asyncio
import time
from dataclasses import dataclass

from harness import BASE_MODEL, CHAT_MODEL, Row, arguments, gateway, report, spread
from openai import AsyncOpenAI

STREAMS = (1, 4)


@dataclass(frozen=True)
class Stream:
    """When a stream began, spoke first and ended, and how many tokens it had."""

    began: float
    first: float
    ended: float
    num_tokens: int


async def read_stream(client: AsyncOpenAI, model: str, index: int, num_tokens: int) -> Stream:
    began = time.perf_counter()
    stream = await client.completions.create(
        model=model,
        prompt=f"{index}: Here is a long story about a small town by the sea.",
        max_tokens=num_tokens,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
        extra_body={"ignore_eos": True},
    )
    first, counted = None, 0
    async for chunk in stream:
        if first is None and chunk.choices:
            first = time.perf_counter()
        if chunk.usage:
            counted = chunk.usage.completion_tokens
    assert first is not None, f"{model} said nothing"
    return Stream(began, first, time.perf_counter(), counted)


async def measure(client: AsyncOpenAI, model: str, num_streams: int, num_tokens: int) -> Row:
    """The rate runs from the first token of any stream to the last token of all."""
    streams = await asyncio.gather(
        *(read_stream(client, model, i, num_tokens) for i in range(num_streams))
    )
    counted = sum(stream.num_tokens for stream in streams)
    seconds = max(s.ended for s in streams) - min(s.first for s in streams)
    waits = spread([stream.first - stream.began for stream in streams])
    return {
        "model": model,
        "streams": num_streams,
        "tokens": counted,
        "tokens/s": round((counted - 1) / seconds, 1),
        "tokens/s per stream": round((counted - 1) / seconds / num_streams, 1),
        "median TTFT ms": waits["median ms"],
    }


async def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--memory", default="4GiB", help="holds both models")
    parser.add_argument("--tokens", type=int, default=128, help="per stream")
    args = parser.parse_args()
    rows = []
    with gateway(args.models_dir, args.memory, args.dtype) as running:
        async with running.client() as client:
            for model in (CHAT_MODEL, BASE_MODEL):
                await read_stream(client, model, 0, 4)  # loads it
                rows += [await measure(client, model, n, args.tokens) for n in STREAMS]
        report({"Decoding": rows, "Memory": running.rss()}, args.json)


if __name__ == "__main__":
    asyncio.run(main())
