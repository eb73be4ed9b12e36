"""What a load does to a stream beside it: seconds between its tokens, with and without.

    python bench/stall.py --rounds 20

One worker process decodes one model without an end while another model is loaded and evicted. Gaps
are taken where the step loop's outputs arrive; each belongs to what it overlapped. Quiet stretches lie
between the loads, so both have the same machine and the same lengths of context.

    warm   the other model's image is in memory
    disk   it is on disk, its pages in memory
    first  there is none yet: it is built
"""

import argparse
import asyncio
import os
import socket
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from figures import Row, markdown
from machine import load_average

from engine.api import LoadOrder, Sampling
from engine.channel import Channel
from engine.wire import Event, Evict, Evicted, Load, Loaded, LoadFailed, Start, Step, WorkerReady

MODELS = Path(__file__).parents[1] / "models"
KV_TOKENS = 4096
PROMPT = list(range(100, 150))
QUIET, IGNORED = "quiet", "ignored"
QUIET_SECONDS = 0.5


class Stream:
    """One sequence after the other on a model; gaps between outputs by what they overlapped."""

    def __init__(self, channel: Channel[Step], handle: int) -> None:
        self._channel, self._handle = channel, handle
        self._number = 0
        self._phase, self._overlapped = IGNORED, IGNORED
        self.gaps: dict[str, list[float]] = defaultdict(list)

    def enter(self, phase: str) -> None:
        """What goes on from now on. A gap that spans several belongs to the last that is no quiet."""
        self._phase = phase
        if phase != QUIET:
            self._overlapped = phase

    def _arrived(self, seconds: float) -> None:
        self.gaps[self._overlapped].append(seconds)
        self._overlapped = self._phase

    async def run(self) -> None:
        while True:
            await self._one()

    async def _one(self) -> None:
        self._number += 1
        tokens = KV_TOKENS // 2
        start = Start(self._number, self._handle, PROMPT, tokens, tokens, [], Sampling())
        self._channel.send(start)
        last = None
        while (step := await self._channel.receive()) is not None:
            now = time.perf_counter()
            if last is not None:
                self._arrived(now - last)
            last = now
            failed = [output.failure for output in step.outputs if output.failure]
            if failed:
                raise failed[0].error()
            if any(output.finish_reason for output in step.outputs):
                return


@asynccontextmanager
async def worker(folder: Path, *, keeps_warm: bool) -> AsyncIterator[tuple[Channel[Any], Path]]:
    path = folder / "worker.sock"
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-m", "engine.worker", "--control-fd", str(theirs.fileno())]
    command += ["--socket", str(path), "--memory", str(2**32)]
    command += ["--image-cache", str(folder / "images")]
    command += [] if keeps_warm else ["--warm-bytes", "0"]
    with theirs:
        process = await asyncio.create_subprocess_exec(*command, pass_fds=(theirs.fileno(),))
    control = await Channel.over(ours, Event)
    try:
        await heard(control, WorkerReady)
        yield control, path
    finally:
        control.close()
        await process.wait()


async def heard(control: Channel[Any], kind: type) -> Any:
    while (event := await control.receive()) is not None:
        if isinstance(event, LoadFailed):
            raise event.failure.error()
        if isinstance(event, kind):
            return event
    raise RuntimeError("the worker has ended")


async def measure(cases: Sequence[str], runs: Path, loads: Path, rounds: int) -> dict[str, Any]:
    """Gaps by case, and as "quiet": one worker for cases that leave the same things behind."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        async with worker(folder, keeps_warm="warm" in cases) as (control, path):
            control.send(Load(LoadOrder(1, "cpu", str(runs), "tiled", KV_TOKENS)))
            await heard(control, Loaded)
            stream = Stream(await Channel.to(path, Step), 1)
            running = asyncio.create_task(stream.run())
            await swap(control, 2, loads)  # the image, and what is done once
            for number in range(rounds):
                for place, case in enumerate(cases):
                    stream.enter(QUIET)
                    await asyncio.sleep(QUIET_SECONDS)
                    stream.enter(IGNORED)
                    if case == "first":  # takes some 0.1 s, in which nothing would be heard
                        await asyncio.to_thread(remove_images, folder / "images", loads)
                        await asyncio.sleep(QUIET_SECONDS)
                    await swap(control, 3 + number * len(cases) + place, loads, stream, case)
            running.cancel()
        return stream.gaps


async def swap(
    control: Channel[Any], handle: int, path: Path, stream: Stream | None = None, case: str = ""
) -> None:
    """A load, and the eviction of what was loaded."""
    for message, answer in (
        (Load(LoadOrder(handle, "cpu", str(path), "tiled", KV_TOKENS)), Loaded),
        (Evict(handle), Evicted),
    ):
        if stream:
            stream.enter(case if answer is Loaded else f"evict {case}")
        control.send(message)
        await heard(control, answer)


def remove_images(folder: Path, model: Path) -> None:
    for image in folder.glob(f"{model.stem}*"):
        image.unlink()


def rows(gaps: dict[str, list[float]]) -> list[Row]:
    quiet = percentile(gaps[QUIET], 99)
    return [
        {
            "phase": phase,
            "gaps": len(of),
            "p50 ms": f"{1e3 * percentile(of, 50):.1f}",
            "p99 ms": f"{1e3 * percentile(of, 99):.1f}",
            "max ms": f"{1e3 * max(of):.1f}",
            "p99 / quiet p99": f"{percentile(of, 99) / quiet:.2f}",
        }
        for phase, of in gaps.items()
        if phase != IGNORED
    ]


def percentile(values: Sequence[float], percent: int) -> float:
    """The nearest rank."""
    return sorted(values)[max(0, -(-len(values) * percent // 100) - 1)]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, default=MODELS / "SmolLM2-135M-Instruct-Q4_1.gguf")
    parser.add_argument("--loads", type=Path, default=MODELS / "gemma-3-270m-Q4_K_M.gguf")
    parser.add_argument("--cases", default="warm,disk,first")
    parser.add_argument("--rounds", type=int, default=20)
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    cases = arguments.cases.split(",")
    for group in (["warm"], ["disk", "first"]):
        wanted = [case for case in group if case in cases]
        if wanted:
            gaps = asyncio.run(measure(wanted, arguments.runs, arguments.loads, arguments.rounds))
            print(f"load average {load_average()}, {os.cpu_count()} CPUs")
            print(markdown(rows(gaps)))


if __name__ == "__main__":
    main()
