"""Whether we have become slower beside llama.cpp than the committed baseline says.

--write makes the baseline of the rounds that `bench/cpu.py --json` wrote; without it the baseline's
models and cases are measured anew.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from figures import Spread, paired_ratios

BASELINE = Path(__file__).with_name("baseline.json")

ALLOWED = 0.9
"""A median ratio may be lower than the baseline's lowest round by this factor: machines differ."""

Ratios = dict[str, Spread]
"""By "model case": ours over llama.cpp, of each round."""


def ratios_of(results: Sequence[Mapping[str, Any]]) -> Ratios:
    """From what `bench/cpu.py --json` writes; cases with a side missing are left out."""
    return {
        f"{result['model']} {result['case']['name']}": Spread.of(ratios)
        for result in results
        if not result["failures"]
        and len(result["ours"]) == len(result["peer"])
        and (ratios := paired_ratios(result["ours"], result["peer"]))
    }


def regressions(baseline: Ratios, measured: Ratios) -> list[str]:
    """What is slower than it was, or was not measured, in words."""
    found = []
    for name, before in baseline.items():
        now = measured.get(name)
        if now is None:
            found.append(f"{name}: not measured")
        elif now.median < ALLOWED * before.low:
            found.append(f"{name}: {now}, and was {before}")
    return found


def read_baseline(path: Path = BASELINE) -> Ratios:
    return {name: Spread(**spread) for name, spread in json.loads(path.read_text()).items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path, help="rounds to make the baseline of")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    if args.write:
        ratios = ratios_of(json.loads(args.write.read_text()))
        kept = {name: vars_of(spread) for name, spread in ratios.items()}
        BASELINE.write_text(json.dumps(kept, indent=2) + "\n")
        return
    baseline = read_baseline()
    slower = regressions(baseline, measure(list(baseline), args.rounds))
    print("\n".join(slower) if slower else f"{len(baseline)} cases are as fast as they were")
    sys.exit(bool(slower))


def vars_of(spread: Spread) -> dict[str, float]:
    return {
        "median": round(spread.median, 3),
        "low": round(spread.low, 3),
        "high": round(spread.high, 3),
        "count": spread.count,
    }


def measure(names: Sequence[str], num_rounds: int) -> Ratios:
    """The same models and cases once more."""
    from dataclasses import asdict

    from cases import CASES
    from compare import Comparison
    from folders import MODELS
    from llama import Peer
    from model_files import path_of
    from ours import Ours

    comparison = Comparison(Ours(), Peer(MODELS / "best_options.json"), num_rounds)
    results = []
    for name in names:
        model, case = name.split()
        results.append(asdict(comparison.run(model, path_of(model), CASES[case])))
    return ratios_of(results)


if __name__ == "__main__":
    main()
