"""The peer's side: a case by llama-bench, or by llama-batched-bench for several sequences."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from cases import Case
from peer import tool

_BATCH = 2048


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
        """The fastest that a search finds, once for each case, under the case's own load."""
        key = f"{path.name} {case.name}"
        if key not in self._best:
            self._best[key] = search(case, lambda options: _rate_or_zero(path, case, options))
            kept = {key: asdict(options) for key, options in self._best.items()}
            self.kept.parent.mkdir(exist_ok=True)
            self.kept.write_text(json.dumps(kept, indent=2))
        return self._best[key]

    def measure(self, path: Path, case: Case) -> float:
        """Tokens per second."""
        return rate(path, case, self.options(path, case))


def search(case: Case, rate_of: Callable[[Options], float]) -> Options:
    """Option by option from the usual best, each kept where it is faster: all of them take hours."""
    best = Options(threads=2, flash_attention=True)
    fastest = rate_of(best)
    for change in changes(case):
        changed = replace(best, **change)
        found = rate_of(changed)
        if found > fastest:
            best, fastest = changed, found
    return best


def changes(case: Case) -> list[dict[str, Any]]:
    """Of the options that matter to a case, the values beside the usual ones."""
    is_single_decode = case.phase == "decode" and case.num_sequences == 1
    micro_batch: list[dict[str, Any]] = [] if is_single_decode else [{"micro_batch": 128}]
    return [{"threads": 1}, {"flash_attention": False}, *micro_batch]


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
