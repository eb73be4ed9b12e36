"""Both sides on the same file, alternately, and what came of it."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from cases import CASES, Case
from figures import Row, Spread, markdown, paired_ratios, rounded, weight_bytes_per_token
from folders import MODELS
from llama import Peer
from machine import load_average, neighbours, read_bandwidth
from model_files import path_of
from ours import Ours


@dataclass
class Result:
    """Every round of a case.

    Rates are tokens per second, bandwidths bytes per second. A side that was not asked for, or
    failed, has no rounds.
    """

    model: str
    case: Case
    bytes_per_token: int
    peer_options: str = ""
    ours: list[float] = field(default_factory=list)
    peer: list[float] = field(default_factory=list)
    bandwidth: list[float] = field(default_factory=list)
    load: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def row(self) -> Row:
        """A line of the table; shares are of the bandwidth measured in the same rounds."""
        # After a failure nobody knows which rounds belong together.
        is_paired = not self.failures and len(self.ours) == len(self.peer)
        ratios = paired_ratios(self.ours, self.peer) if is_paired else []
        return {
            "model": self.model,
            "case": self.case.name,
            "ours tok/s": _spread(self.ours),
            "llama.cpp tok/s": _spread(self.peer),
            "ratio": _spread(ratios),
            "memory GB/s": _spread([each / 1e9 for each in self.bandwidth]),
            "ours % of memory": self._share(self.ours),
            "llama.cpp % of memory": self._share(self.peer),
            "llama.cpp's best": self.peer_options,
            "load": _spread(self.load),
        }

    def _share(self, rates: Sequence[float]) -> str:
        if not rates or not self.bandwidth or not self.case.reads_weights_once:
            return ""
        limit = Spread.of(self.bandwidth).median / self.bytes_per_token
        return rounded(100 * Spread.of(rates).median / limit)


def _spread(values: Sequence[float]) -> str:
    return str(Spread.of(values)) if values else ""


@dataclass(frozen=True)
class Comparison:
    """ours, peer: None leaves a side out."""

    ours: Ours | None
    peer: Peer | None
    num_rounds: int

    def run(self, name: str, path: Path, case: Case) -> Result:
        result = Result(name, case, bytes_per_token(path))
        with neighbours(is_busy=case.is_busy):
            if self.peer:
                result.peer_options = str(self.peer.options(path, case))
        for index in range(self.num_rounds):
            self._round(result, path, ours_first=index % 2 == 0)
        return result

    def _round(self, result: Result, path: Path, *, ours_first: bool) -> None:
        """The bandwidth first, then both sides, in an order that changes from round to round."""
        result.load.append(load_average())
        result.bandwidth.append(read_bandwidth())
        sides: list[tuple[Callable[[Path, Case], float], list[float]]] = []
        if self.ours:
            sides.append((self.ours.measure, result.ours))
        if self.peer:
            sides.append((self.peer.measure, result.peer))
        with neighbours(is_busy=result.case.is_busy):
            for measure, rates in sides if ours_first else reversed(sides):
                try:
                    rates.append(measure(path, result.case))
                except RuntimeError as error:  # the other side's figures stay worth having
                    result.failures.append(str(error))


def bytes_per_token(path: Path) -> int:
    """Bytes of weights that decoding one token reads."""
    from engine.checkpoint import GGUFCheckpoint, open_checkpoint

    with open_checkpoint(path) as checkpoint:
        assert isinstance(checkpoint, GGUFCheckpoint)
        sizes = {name: tensor.nbytes for name, tensor in checkpoint.tensors.items()}
        prefix = checkpoint.metadata["general.architecture"]
        counts = [
            checkpoint.metadata.get(f"{prefix}.{key}")
            for key in ("expert_used_count", "expert_count")
        ]
    used, there = (count if isinstance(count, int) and count else 1 for count in counts)
    return weight_bytes_per_token(sizes, used / there)


def vocab_size(path: Path) -> int:
    from engine.checkpoint import open_checkpoint

    with open_checkpoint(path) as checkpoint:
        return checkpoint.tensors["token_embd.weight"].shape[0]


def main(description: str, *, models: str, cases: str) -> None:
    """The command line of a benchmark. models, cases: what runs where it does not say."""
    args = _arguments(description, models, cases).parse_args()
    comparison = Comparison(
        ours=Ours(args.dtype, args.form) if args.only != "peer" else None,
        peer=Peer(MODELS / "best_options.json") if args.only != "ours" else None,
        num_rounds=args.rounds,
    )
    results = []
    for name in args.models.split(","):
        path = path_of(name)
        for case in args.cases.split(","):
            results.append(comparison.run(name, path, CASES[case]))
            print(f"{name} {case}: {results[-1].row()}", file=sys.stderr, flush=True)
    report(results, args.json)


def _arguments(description: str, models: str, cases: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--models", default=models, help=f"by default {models}")
    parser.add_argument("--cases", default=cases, help=f"by default {cases}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=("ours", "peer"), help="run one side alone")
    parser.add_argument("--dtype", default=Ours.dtype, help="of our engine")
    parser.add_argument("--form", default=Ours.form, help="of our weights: tiled, dense or packed")
    parser.add_argument("--json", type=Path, help="write every round to this file")
    return parser


def report(results: Sequence[Result], json_path: Path | None) -> None:
    print(markdown([result.row() for result in results]))
    for result in results:
        for failure in result.failures:
            print(f"\n{result.model} {result.case.name} failed: {failure}")
    if json_path:
        json_path.write_text(json.dumps([asdict(result) for result in results], indent=2))
