import json

from check import BASELINE, ratios_of, read_baseline, regressions
from figures import Spread


def result(ours: list[float], peer: list[float], failures: list[str] | None = None) -> dict:
    return {
        "model": "m",
        "case": {"name": "decode"},
        "ours": ours,
        "peer": peer,
        "failures": failures or [],
    }


def test_ratios_are_of_rounds():
    """Each round's own, and their spread."""
    assert ratios_of([result([4, 9], [2, 3])]) == {"m decode": Spread(2.5, 2, 3, 2)}


def test_a_case_that_failed_says_nothing():
    """Neither does one with a side missing."""
    assert not ratios_of([result([4], [2], ["it broke"]), result([4], [])])


def test_a_slower_ratio_is_told():
    """Below the baseline's lowest round by more than machines differ."""
    baseline = {"m decode": Spread(2.0, 1.8, 2.2, 3)}

    assert not regressions(baseline, {"m decode": Spread(1.7, 1, 2, 3)})
    assert regressions(baseline, {"m decode": Spread(1.6, 1, 2, 3)})
    assert regressions(baseline, {}) == ["m decode: not measured"]


def test_the_committed_baseline_can_be_read():
    """Every entry names a model and a case."""
    assert BASELINE.exists()
    assert all(len(name.split()) == 2 for name in read_baseline())
    assert json.loads(BASELINE.read_text())
