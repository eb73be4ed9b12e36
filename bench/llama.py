"""The peer's side: a case by llama-bench, or by llama-batched-bench for several sequences."""

import json
import subprocess
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

from cases import Case
from peer import tool

_BATCH = 2048
_MICRO_BATCHES = (128, 512)


@dataclass(frozen=True)
class Options:
    """What the peer is tuned by. micro_batch: what -ub says, of no effect on a decode of one."""

    threads: int = 2
    flash_attention: bool = False
    micro_batch: int = 512

    def __str__(self) -> str:
        return f"-t {self.threads} -fa {self.flash_attention:d} -ub {self.micro_batch}"


@dataclass
class Peer:
    """llama.cpp with the options that are its best for each model and case, found once."""

    kept: Path

    def __post_init__(self) -> None:
        self._best: dict[str, Options] = {}
        if self.kept.is_file():
            found = json.loads(self.kept.read_text())
            self._best = {key: Options(**options) for key, options in found.items()}

    def options(self, path: Path, case: Case) -> Options:
        """The fastest of a sweep, measured where it is not known yet, under the case's own load."""
        key = f"{path.name} {case.name}"
        if key not in self._best:
            rates = {options: _rate_or_zero(path, case, options) for options in candidates(case)}
            self._best[key] = max(rates, key=lambda options: rates[options])
            kept = {key: asdict(options) for key, options in self._best.items()}
            self.kept.parent.mkdir(exist_ok=True)
            self.kept.write_text(json.dumps(kept, indent=2))
        return self._best[key]

    def measure(self, path: Path, case: Case) -> float:
        """Tokens per second."""
        return rate(path, case, self.options(path, case))


def candidates(case: Case) -> list[Options]:
    is_single_decode = case.phase == "decode" and case.num_sequences == 1
    micro_batches: Iterable[int] = (512,) if is_single_decode else _MICRO_BATCHES
    return [Options(*each) for each in product((2, 1), (False, True), micro_batches)]


def rate(path: Path, case: Case, options: Options, num_repeats: int = 3) -> float:
    """Tokens per second, the mean of so many repeats; a batch runs once.

    Raises `RuntimeError` with the last of its log where it failed.
    """
    if case.num_sequences == 1:
        (row,) = json.loads(_output(single_command(path, case, options, num_repeats)))
        return float(row["avg_ts"])
    lines = _output(batched_command(path, case, options)).splitlines()
    (row,) = (json.loads(line) for line in lines if line.startswith("{"))
    return float(row["speed_tg"])


def _rate_or_zero(path: Path, case: Case, options: Options) -> float:
    """Of one repeat; options that a model does not run with are not its best."""
    try:
        return rate(path, case, options, num_repeats=1)
    except RuntimeError:
        return 0.0


def single_command(path: Path, case: Case, options: Options, num_repeats: int = 3) -> list[str]:
    """It warms up by itself before it counts."""
    is_prefill = case.phase == "prefill"
    depth = 0 if is_prefill or case.num_prompt == 1 else case.num_prompt
    return [
        *(str(tool("llama-bench")), "-m", str(path), "-o", "json"),
        *("-r", str(num_repeats)),
        *("-p", str(case.num_prompt if is_prefill else 0)),
        *("-n", str(case.num_new), "-d", str(depth), "-b", str(_BATCH)),
        *("-t", str(options.threads), "-fa", str(int(options.flash_attention))),
        *("-ub", str(options.micro_batch)),
    ]


def batched_command(path: Path, case: Case, options: Options) -> list[str]:
    context = case.num_sequences * (case.num_prompt + case.num_new)
    return [
        *(str(tool("llama-batched-bench")), "-m", str(path), "--output-format", "jsonl"),
        *("-npp", str(case.num_prompt), "-ntg", str(case.num_new)),
        *("-npl", str(case.num_sequences), "-c", str(context), "-b", str(_BATCH)),
        *("-t", str(options.threads), "-tb", str(options.threads)),
        *("-fa", "on" if options.flash_attention else "off", "-ub", str(options.micro_batch)),
    ]


def _output(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr[-2000:]}")
    return done.stdout
