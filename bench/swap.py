"""Time to the first token: of a model that is loaded, and of one that must replace another.

The budget holds one of the two demo models, so that each request for the other one swaps.
"""

import asyncio
import time
from itertools import count

from harness import BASE_MODEL, CHAT_MODEL, Gateway, Row, arguments, gateway, report, spread
from openai import AsyncOpenAI

_serial = count()


async def ttft_seconds(client: AsyncOpenAI, model: str) -> float:
    """Seconds from sending a short prompt to its first text. No two prompts begin alike."""
    began = time.perf_counter()
    stream = await client.completions.create(
        model=model,
        prompt=f"{next(_serial)}: The capital of France is",
        max_tokens=4,
        temperature=0,
        stream=True,
        extra_body={"ignore_eos": True},
    )
    first = None
    async for chunk in stream:
        if first is None and chunk.choices and chunk.choices[0].text:
            first = time.perf_counter() - began
    assert first is not None, f"{model} said nothing"
    return first


async def measure(running: Gateway, rounds: int) -> list[Row]:
    resident: dict[str, list[float]] = {CHAT_MODEL: [], BASE_MODEL: []}
    swapped: dict[str, list[float]] = {CHAT_MODEL: [], BASE_MODEL: []}
    async with running.client() as client:
        first = {model: await ttft_seconds(client, model) for model in swapped}
        for _ in range(rounds):
            for model, other in ((CHAT_MODEL, BASE_MODEL), (BASE_MODEL, CHAT_MODEL)):
                swapped[model].append(await ttft_seconds(client, model))
                check_swapped(running, model, other)
                resident[model].append(await ttft_seconds(client, model))
    return [
        {"model": model, "first token": kind, **spread(seconds)}
        for model in swapped
        for kind, seconds in (
            ("first load", [first[model]]),
            ("after a swap", swapped[model]),
            ("loaded", resident[model]),
        )
    ]


def check_swapped(running: Gateway, model: str, other: str) -> None:
    states = running.states()
    if (states[model], states[other]) != ("loaded", "unloaded"):
        raise SystemExit(f"the budget does not hold exactly one model: {states}; see --memory")


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--memory", default="1200MiB", help="holds one of the two, not both")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    with gateway(args.models_dir, args.memory, args.dtype) as running:
        rows = asyncio.run(measure(running, args.rounds))
        report({"Time to first token": rows, "Memory": running.rss()}, args.json)


if __name__ == "__main__":
    main()
