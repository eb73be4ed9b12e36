"""Time to the first token of a model that must replace another: ours beside llama-server's router.

    python bench/swap.py --models smollm2,gemma,1b-q4_k_m,1b-q8_0 --rounds 5

Either side holds one model. The other model is loaded and was just used; then this one is asked.

    warm   it was evicted a moment ago, and its pages are in memory
    disk   it was, and our side kept nothing of it but the image on disk, whose pages are in memory
    cold   as disk, with the pages of its files dropped from memory before
    first  our side has no image of it yet

The peer knows no difference between these but "cold". The bound of a warm swap is 1.3
times what reading the weights once takes, and 50 ms. "loaded" is the same request right after it, to
the model that is there now: what a swap costs is the difference. "others" is how many CPUs processes
outside of the benchmark kept busy meanwhile: figures with more than a few hundredths are theirs, too.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from figures import Row, Spread, markdown, paired_ratios
from machine import load_average, read_bandwidth
from model_files import path_of
from others import watched
from routers import CONTEXT, Router, ours, theirs

from engine.api import ModelCard
from engine.inspect import inspect

CASES = ("warm", "disk", "cold", "first")
SETTLE_SECONDS = 1.0
"""The other model is idle for so long: a server may keep what it has just loaded for a moment."""

_SPARE_BYTES = 32 * 2**20


@dataclass
class Swap:
    """All rounds of a case, in seconds. bandwidth: bytes per second.

    loaded: ours, of a request right after the swap. others: CPUs that foreign processes used.
    """

    model: str
    case: str
    weights_bytes: int
    ours: list[float] = field(default_factory=list)
    peer: list[float] = field(default_factory=list)
    bandwidth: list[float] = field(default_factory=list)
    loaded: list[float] = field(default_factory=list)
    others: list[float] = field(default_factory=list)

    def row(self) -> Row:
        return {
            "model": self.model,
            "case": self.case,
            "ours ms": _in_ms(self.ours),
            "llama-server ms": _in_ms(self.peer),
            "ours / theirs": _spread(paired_ratios(self.ours, self.peer) if self.peer else []),
            "ours loaded ms": _in_ms(self.loaded),
            "bound ms": _in_ms([self._bound(each) for each in self.bandwidth]),
            "memory GB/s": _spread([each / 1e9 for each in self.bandwidth]),
            "others": _spread(self.others),
        }

    def _bound(self, bandwidth: float) -> float:
        return 1.3 * self.weights_bytes / bandwidth + 0.05


@dataclass(frozen=True)
class Sides:
    """Servers that know the same two models. keeping: ours, with a warm tier; plain: without."""

    keeping: Router
    plain: Router
    peer: Router | None

    @classmethod
    @contextmanager
    def started(cls, paths: Sequence[Path], args: argparse.Namespace) -> "Iterator[Sides]":
        with ExitStack() as stack:
            folder = Path(stack.enter_context(TemporaryDirectory()))
            for path in paths:
                (folder / path.name).symlink_to(path.resolve())
            memory = max(_needed_bytes(inspect(path, args.dtype)) for path in paths)
            keeping, plain = (
                stack.enter_context(
                    ours(folder, memory + _SPARE_BYTES, is_warm=is_warm, dtype=args.dtype)
                )
                for is_warm in (True, False)
            )
            peer = None if args.only == "ours" else stack.enter_context(theirs(folder))
            yield cls(keeping, plain, peer)

    def pair(self, case: str) -> list[Router]:
        first = self.keeping if case == "warm" else self.plain
        return [first, self.peer] if self.peer else [first]


def measure(model: str, other: str, args: argparse.Namespace) -> list[Swap]:
    """Every round has the bandwidth, then each case on both sides, in changing order."""
    path, other_path = path_of(model), path_of(other)
    weights_bytes = inspect(path, args.dtype).footprints[0].weights_bytes
    swaps = [Swap(model, case, weights_bytes) for case in args.cases]
    with Sides.started((path, other_path), args) as sides:
        for router in filter(None, (sides.keeping, sides.plain, sides.peer)):
            swap(router, "disk", path, other_path)  # makes images, and brings pages into memory
        for number in range(args.rounds):
            bandwidth = read_bandwidth()
            for each in swaps:
                each.bandwidth.append(bandwidth)
                with watched() as others:
                    _round(each, sides.pair(each.case), number, path, other_path)
                each.others.append(others.cpus)
    return swaps


def _round(swaps: Swap, sides: list[Router], number: int, path: Path, other: Path) -> None:
    """One more swap on each side, ours first in every other round."""
    turns = list(zip(sides, (swaps.ours, swaps.peer), strict=False))
    for side, seconds in turns if number % 2 == 0 else reversed(turns):
        seconds.append(swap(side, swaps.case, path, other))
        if side is sides[0]:
            swaps.loaded.append(side.ttft_seconds(path.stem))


def swap(router: Router, case: str, path: Path, other: Path) -> float:
    """Seconds to the first token. Exits where the other model did not make room."""
    router.ttft_seconds(other.stem)
    time.sleep(SETTLE_SECONDS)
    if case == "cold":
        router.forget(path)
    if case == "first":
        router.unbuild(path)
    router.ttft_seconds(other.stem)  # in use until now: on idle cores a first token takes longer
    seconds = router.ttft_seconds(path.stem)
    if router.loaded() != {path.stem}:
        raise SystemExit(f"{router.name} holds {router.loaded()}, not {path.stem} alone")
    return seconds


def _needed_bytes(card: ModelCard) -> int:
    """Of the form that is loaded first, with the whole context."""
    return card.footprints[0].total(min(card.context_length, CONTEXT), 16)


def _in_ms(seconds: Sequence[float]) -> str:
    return _spread([1000 * each for each in seconds])


def _spread(values: Sequence[float]) -> str:
    return str(Spread.of(values)) if values else ""


def main() -> None:
    args = _arguments().parse_args()
    swaps: list[Swap] = []
    for model in args.models.split(","):
        other = "gemma" if model == "smollm2" else "smollm2"
        measured = measure(model, other, args)
        print(*(each.row() for each in measured), sep="\n", file=sys.stderr, flush=True)
        swaps += measured
    print(markdown([each.row() for each in swaps]))
    print(f"\n{os.cpu_count()} CPUs, load average {load_average():.1f}")
    if args.json:
        args.json.write_text(json.dumps([asdict(each) for each in swaps], indent=2))


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", default="smollm2,gemma,1b-q4_k_m,1b-q8_0")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=CASES)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=("ours",), help="leave the peer out")
    parser.add_argument("--dtype", default="auto", help="of our engine")
    parser.add_argument("--json", type=Path, help="write every round to this file")
    return parser


if __name__ == "__main__":
    main()
