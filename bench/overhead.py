"""What the gateway itself costs, over engines that cost nothing, beside LiteLLM's proxy.

    python bench/overhead.py --rounds 2        (python bench/litellm_proxy.py installs LiteLLM)

Every load runs against every side in turn, round by round: chats of 16 tokens that do not stream, at
given rates, and streams of a token each every 20 ms. Linux.
"""

import argparse
import json
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from figures import Row, Spread, markdown, percentile
from open_load import DRAIN_SECONDS, OpenLoad, arrivals
from proxies import DIRECT, Side, all_sides
from raw_streams import stream_all
from stub_reply import AT_ONCE, PACED

PATH = "/v1/chat/completions"
NUM_TOKENS = 16
WARM_RATE, WARM_SECONDS = 20, 1.0

NOTES = f"""\
- no proxy: the client asks a stub of an OpenAI server. LiteLLM: its proxy stands before that stub.
- ours, engine inside: the gateway with a stub of the engine in its own process, whose cost counts.
- ours, engine behind: the gateway with stubs of the text process and of a worker, over the sockets and
  frames of the real ones. Neither has tokenizers or models.
- CPU is of the gateway's or the proxy's process alone, without the client and the stubs' own processes.
- A chat that does not stream is one body from upstream for LiteLLM, and {NUM_TOKENS} deltas for us.
- A request counts from the moment that it was due. One that was not answered {DRAIN_SECONDS:g} s after the last
  was due is infinitely late. Added: what lies over "no proxy" in the same round.
- Of the rounds the median, the lowest and the highest."""

Figures = dict[str, float]


def at_rate(side: Side, rate: float, seconds: float) -> Figures:
    """Of chats that do not stream, so many a second whether the earlier ones are answered or not."""
    load = OpenLoad(side.url, PATH, _chat(AT_ONCE, NUM_TOKENS))
    before = side.cpu_seconds()
    taken = load.run(arrivals(rate, seconds))
    cpu = side.cpu_seconds() - before
    load.close()
    num_answered = sum(map(math.isfinite, taken))
    return {
        "answered %": 100 * num_answered / len(taken),
        "p50 ms": 1000 * percentile(taken, 50),
        "p99 ms": 1000 * percentile(taken, 99),
        "us of CPU a request": 1e6 * cpu / max(1, num_answered),
    }


def streaming(side: Side, num_streams: int, num_tokens: int) -> Figures:
    """CPU time is counted while all of them stream: what it takes to begin one is left out.

    The first event of each says who speaks, the second one brings the first token.
    """
    edges: list[tuple[float, float]] = []

    def read() -> None:
        edges.append((time.perf_counter(), side.cpu_seconds()))

    body = _chat(PACED, num_tokens) | {"stream": True}
    streams = stream_all(side.url, [body] * num_streams, read, PATH)
    (opened, before), (shut, after) = edges
    num_counted = sum(opened < moment <= shut for s in streams for moment in s.moments)
    gaps = [later - earlier for s in streams for earlier, later in pairwise(s.moments[1:])]
    return {
        "first token, p50 ms": 1000 * percentile((s.moments[1] - s.asked for s in streams), 50),
        "between tokens, p50 ms": 1000 * percentile(gaps, 50),
        "p99 ms": 1000 * percentile(gaps, 99),
        "us of CPU a token": 1e6 * (after - before) / num_counted,
    }


def with_added(measured: dict[str, Figures]) -> dict[str, Figures]:
    """One round of one load by side, and what each lies over the one without a proxy."""
    base = measured[DIRECT]
    return {
        name: figures | {f"added {key}": figures[key] - base[key] for key in ("p50 ms", "p99 ms")}
        for name, figures in measured.items()
    }


class Table:
    """Figures of one load by side, a value a round."""

    def __init__(self) -> None:
        self.values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))

    def add(self, measured: dict[str, Figures]) -> None:
        for side, figures in measured.items():
            for name, value in figures.items():
                self.values[side][name].append(value)

    def rows(self, load: str) -> Iterable[Row]:
        for side, values in self.values.items():
            yield {"load": load, "side": side} | {n: str(Spread.of(v)) for n, v in values.items()}


def main() -> None:
    args = _arguments().parse_args()
    rated = {
        f"{rate:g} requests/s": partial(at_rate, rate=rate, seconds=args.seconds)
        for rate in args.rates
    }
    streams = f"{args.streams} streams"
    loads: dict[str, Callable[[Side], Figures]] = {
        streams: partial(streaming, num_streams=args.streams, num_tokens=args.tokens),
        **rated,
    }
    tables = {load: Table() for load in loads}
    with all_sides(has_litellm=not args.ours) as sides:
        for side in sides:
            at_rate(side, WARM_RATE, WARM_SECONDS)
            streaming(side, num_streams=1, num_tokens=NUM_TOKENS)
        for number in range(args.rounds):
            for load, measure in loads.items():
                measured = {}
                for side in sides if number % 2 == 0 else reversed(sides):
                    side.wait_until_quiet()
                    measured[side.name] = measure(side)
                tables[load].add(with_added(measured) if load in rated else measured)
    print(markdown([row for load in rated for row in tables[load].rows(load)]))
    print(f"\n{markdown(list(tables[streams].rows(streams)))}\n\n{NOTES}")
    if args.json:
        args.json.write_text(json.dumps({load: t.values for load, t in tables.items()}, indent=2))


def _chat(model: str, num_tokens: int) -> dict[str, Any]:
    messages = [{"role": "user", "content": "Say a word, again and again."}]
    return {"model": model, "messages": messages, "max_tokens": num_tokens}


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rates", type=_numbers, default=[20, 100, 1000], help="as 20,100,1000")
    parser.add_argument("--seconds", type=float, default=3, help="for which a rate is kept up")
    parser.add_argument("--streams", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=256, help="of each stream")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--ours", action="store_true", help="leave LiteLLM out")
    parser.add_argument("--json", type=Path, help="write every round's figures to this file")
    return parser


def _numbers(words: str) -> list[float]:
    return [float(word) for word in words.split(",")]


if __name__ == "__main__":
    main()
