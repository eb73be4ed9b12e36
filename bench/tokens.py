"""What a token costs on its way: CPU time of each process, and the wait beside the engine's own.

Every round decodes in one process, then streams through a real server to clients that only count
bytes: prompts of 128 random ids, 256 tokens out. CPU time is counted while all streams run.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import time
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

from compare import vocab_size
from cpu_time import CpuTimes, Thread, cpu_seconds, taken
from figures import Row, Spread, markdown, percentile
from folders import ROOT
from model_files import path_of
from raw_streams import RawStream, stream_all
from servers import Server, ours

NUM_PROMPT = 128
IDLE_SECONDS = 5.0


class Measured:
    """Figures by name, a value a round."""

    def __init__(self) -> None:
        self.values: dict[str, list[float]] = defaultdict(list)

    def add(self, name: str, value: float) -> None:
        self.values[name].append(value)

    def rows(self) -> list[Row]:
        return [{"what": name, "value": str(Spread.of(v))} for name, v in self.values.items()]


def alone_ms(path: Path, num_clients: int, num_new: int) -> float:
    """Between tokens, p50, of so many sequences in one process."""
    command = [sys.executable, __file__, "--alone", str(path), "--tokens", str(num_new)]
    command += ["--clients", str(num_clients)]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    return float(done.stdout.splitlines()[-1])


def through_http(server: Server, size: int, num_clients: int, num_new: int, into: Measured) -> None:
    """One run of so many streams: the wait between tokens, and what a token costs whom."""
    readings: list[CpuTimes] = []
    moments: list[float] = []

    def read() -> None:
        readings.append(cpu_seconds(server.process))
        moments.append(time.perf_counter())

    bodies = [_body(server.model, size, num_new) for _ in range(num_clients)]
    streams = stream_all(server.url, bodies, read)
    counted = sum(moments[0] < moment <= moments[1] for s in streams for moment in s.moments)
    name = f"{num_clients} clients"
    into.add(f"{name}: between tokens, p50 ms", 1000 * _itl_seconds(streams))
    into.add(f"{name}: first token, p50 ms", 1000 * _ttft(streams))
    into.add(f"{name}: tokens/s", counted / (moments[1] - moments[0]))
    for part, seconds in _by_part(taken(*readings)).items():
        into.add(f"{name}: {part}, us of CPU a token", 1e6 * seconds / counted)


def _by_part(times: dict[Thread, float]) -> dict[str, float]:
    """Processes, the worker's by thread: the busiest beside its main one computes the steps."""
    parts: dict[str, float] = defaultdict(float)
    workers = {t: s for t, s in times.items() if t.process == "worker" and t.name != "main"}
    busiest = max(workers, key=workers.__getitem__, default=None)
    for thread, seconds in times.items():
        part = thread.process
        if part == "worker" and thread.name == "main":
            part = "worker, main thread"
        elif part == "worker":
            part = "worker, step thread" if thread == busiest else "worker, other threads"
        parts[part] += seconds
    return parts


def _itl_seconds(streams: list[RawStream]) -> float:
    gaps = [later - earlier for s in streams for earlier, later in pairwise(s.moments)]
    return percentile(gaps, 50)


def _ttft(streams: list[RawStream]) -> float:
    return percentile([stream.moments[0] - stream.asked for stream in streams], 50)


def idle_percent(server: Server) -> float:
    """Of one core, all processes together, while nobody asks anything."""
    before = cpu_seconds(server.process)
    time.sleep(IDLE_SECONDS)
    return 100 * sum(taken(before, cpu_seconds(server.process)).values()) / IDLE_SECONDS


def _body(model: str, size: int, num_new: int) -> dict[str, Any]:
    return {
        "model": model,
        "prompt": _prompt(size),
        "max_tokens": num_new,
        "temperature": 0,
        "ignore_eos": True,
        "stream": True,
    }


def _prompt(size: int) -> list[int]:
    return [random.randrange(256, size) for _ in range(NUM_PROMPT)]


def _print_alone(path: Path, num_clients: int, num_new: int) -> None:
    """In this process: the median gap of the second run, when everything is warm."""
    from engine.api import Generation, Sampling
    from engine.core.generate import LocalModel

    model = LocalModel.open(path, kv_tokens=2 * num_clients * (NUM_PROMPT + num_new + 64))
    asked = Generation(num_new, Sampling(temperature=0.0), ignore_eos=True)
    gaps: list[float] = []
    for _ in range(3):
        times: dict[int, list[float]] = defaultdict(list)
        size = vocab_size(path)
        for output in model.batch([(_prompt(size), asked) for _ in range(num_clients)]):
            times[output.sequence] += [time.perf_counter()] * len(output.token_ids)
        gaps = [later - earlier for came in times.values() for earlier, later in pairwise(came)]
    print(1000 * percentile(gaps, 50))


def main() -> None:
    args = _arguments().parse_args()
    if args.alone:
        _print_alone(args.alone, args.clients[0], args.tokens)
        return
    path, measured = path_of(args.model), Measured()
    size = vocab_size(path)
    for _ in range(args.rounds):
        for num_clients in args.clients:
            if not args.only_http:
                alone = alone_ms(path, num_clients, args.tokens)
                measured.add(
                    f"{num_clients} sequences in one process: between tokens, p50 ms", alone
                )
        with ours(path, args.memory, "auto") as server:
            through_http(server, size, 1, args.tokens, Measured())  # loads it
            for num_clients in args.clients:
                through_http(server, size, num_clients, args.tokens, measured)
            measured.add("idle, % of a core", idle_percent(server))
    print(markdown(measured.rows()))
    if args.json:
        args.json.write_text(json.dumps(measured.values, indent=2))


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--clients", type=_numbers, default=[1, 16], help="as 1,16")
    parser.add_argument("--tokens", type=int, default=256, help="of each stream")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--memory", default="8GiB")
    parser.add_argument("--only-http", action="store_true", help="leave out the single process")
    parser.add_argument("--json", type=Path, help="write every round's figures to this file")
    parser.add_argument("--alone", type=Path, help=argparse.SUPPRESS)
    return parser


def _numbers(words: str) -> list[int]:
    return [int(word) for word in words.split(",")]


if __name__ == "__main__":
    main()
