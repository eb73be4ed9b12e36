"""Many streams at once through HTTP: our gateway against llama-server, one after the other.

Prompts are 128 random token ids, answers 64 tokens. Each round runs both servers, in turn.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager as Context
from functools import partial
from pathlib import Path

from clients import Load
from compare import vocab_size
from figures import Row, markdown
from model_files import path_of
from replies import Reply, summary
from servers import Server, ours, theirs

NUM_SLOTS = 16
CONTEXT = 8192


async def measure(load: Load, args: argparse.Namespace) -> list[Row]:
    """A row for each number of clients, then for each rate of requests per second."""
    await load.warm_up()
    rows = []
    for num_clients in args.clients:
        replies = await load.closed(num_clients, args.requests)
        rows.append(_row(f"{num_clients} clients", replies))
    for rate in args.rates:
        replies = await load.open(rate, num_requests=max(1, round(rate * args.seconds)))
        rows.append(_row(f"{rate:g} requests/s", replies))
    return rows


def _row(load: str, replies: Sequence[Reply]) -> Row:
    return {"load": load, **summary(replies)}


def run(
    side: str, start: Callable[[], Context[Server]], args: argparse.Namespace, size: int
) -> tuple[list[Row], Row]:
    """The rows of one server, and what memory it took."""
    with start() as server:
        load = Load(server.url, server.model, size)
        rows = asyncio.run(measure(load, args))
        base, taken = server.base_bytes, server.memory_bytes()
    memory = {
        "server": side,
        "model": server.model,
        "MiB without a model": round(base / 2**20) if base else "",
        "MiB at the end": round(taken / 2**20),
    }
    return [{"server": side, "model": server.model, **row} for row in rows], memory


def main() -> None:
    args = _arguments().parse_args()
    rows: list[Row] = []
    memory: list[Row] = []
    for name in args.models.split(","):
        path = path_of(name)
        sides: dict[str, Callable[[], Context[Server]]] = {
            "ours": partial(ours, path, args.memory, args.dtype),
            "llama-server": partial(theirs, path, NUM_SLOTS, CONTEXT),
        }
        for _ in range(args.rounds):
            for side, start in sides.items():
                if args.only in {None, side}:
                    side_rows, taken = run(side, start, args, vocab_size(path))
                    print(*side_rows, sep="\n", file=sys.stderr, flush=True)
                    rows += side_rows
                    memory.append(taken)
    print(f"{markdown(rows)}\n\n{markdown(memory)}")
    if args.json:
        args.json.write_text(json.dumps({"rows": rows, "memory": memory}, indent=2))


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default="smollm2,gemma,1b-q4_k_m")
    parser.add_argument("--clients", type=_numbers, default=[1, 4, 16], help="as 1,4,16")
    parser.add_argument("--rates", type=_numbers, default=[0.5, 2], help="requests/s, as 0.5,2")
    parser.add_argument("--requests", type=int, default=3, help="of each client")
    parser.add_argument("--seconds", type=float, default=20, help="for which a rate is kept up")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", choices=("ours", "llama-server"), help="run one server alone")
    parser.add_argument("--memory", default="8GiB", help="what our models may take")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    return parser


def _numbers(words: str) -> list[float]:
    """Whole ones stay whole: they count clients."""
    return [int(word) if word.isdecimal() else float(word) for word in words.split(",") if word]


if __name__ == "__main__":
    main()
