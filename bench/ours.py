"""Our side: a case through `engine.core.generate.LocalModel`, in a process of its own.

A fresh process for each measurement: memory, threads and whatever was learned start anew.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from cases import CASES, Case
from figures import rate_together
from folders import ROOT

_WARM_SECONDS = 2.0
_NUM_REPEATS = 3
_MAX_SECONDS = 20.0


@dataclass(frozen=True)
class Ours:
    """How our engine is opened; no form is the one that it chooses itself."""

    dtype: str = "auto"
    form: str = ""

    def measure(self, path: Path, case: Case) -> float:
        """Tokens per second. Raises `RuntimeError` with the last of its log where it failed."""
        command = [sys.executable, __file__, str(path), case.name]
        command += ["--dtype", self.dtype, "--form", self.form]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        if done.returncode:
            raise RuntimeError(f"{case.name} of {path.name}: {done.stderr[-2000:]}")
        return float(json.loads(done.stdout.splitlines()[-1])["tokens_per_second"])


class _Measurement:
    """A loaded model that runs the case over and over.

    No two prompts begin alike, so that a prefix that is kept never helps.
    """

    def __init__(self, path: Path, case: Case, ours: Ours) -> None:
        from engine.core.generate import LocalModel

        self._case = case
        room = case.num_sequences * (case.num_prompt + 2 * case.num_new + 64)
        self._model = LocalModel.open(path, ours.dtype, ours.form or None, kv_tokens=2 * room)
        self._vocab_size = self._model._resident.vocab_size  # noqa: SLF001
        self._random = random.Random(0)

    def tokens_per_second(self) -> float:
        """The median of a few runs, after some that warm caches and the pacing of chunks.

        Of a model so slow that this would take minutes it is fewer.
        """
        began = time.perf_counter()
        self._rate()
        while time.perf_counter() - began < _WARM_SECONDS:
            self._rate()
        rates = [self._rate()]
        while len(rates) < _NUM_REPEATS and time.perf_counter() - began < _MAX_SECONDS:
            rates.append(self._rate())
        return median(rates)

    def _rate(self) -> float:
        began = time.perf_counter()
        times = self._run()
        if self._case.phase == "prefill":
            return self._case.num_prompt / (times[0][0] - began)
        return rate_together(times)

    def _run(self) -> dict[int, list[float]]:
        """When each token of each sequence came."""
        from engine.api import Generation, Sampling

        # Sequences that start first must not end before the last one has decoded enough.
        slack = self._case.num_new if self._case.num_sequences > 1 else 0
        generation = Generation(
            max_tokens=1 + self._case.num_new + slack,
            sampling=Sampling(temperature=0.0),
            ignore_eos=True,
        )
        runs = [(self._prompt(), generation) for _ in range(self._case.num_sequences)]
        times: dict[int, list[float]] = defaultdict(list)
        for output in self._model.batch(runs):
            times[output.sequence] += [time.perf_counter()] * len(output.token_ids)
        return times

    def _prompt(self) -> list[int]:
        return [self._random.randrange(self._vocab_size) for _ in range(self._case.num_prompt)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("case", choices=CASES)
    parser.add_argument("--dtype", default=Ours.dtype)
    parser.add_argument("--form", default=Ours.form)
    args = parser.parse_args()
    measurement = _Measurement(args.path, CASES[args.case], Ours(args.dtype, args.form))
    print(json.dumps({"tokens_per_second": measurement.tokens_per_second()}))


if __name__ == "__main__":
    main()
