from cases import CASES
from compare import Result


def test_row_pairs_rounds_and_shares_the_memory() -> None:
    """At 100 bytes a token and 1,000 bytes a second, 5 tokens a second are half of what can be."""
    result = Result("m", CASES["decode"], bytes_per_token=100)
    result.ours, result.peer, result.bandwidth = [5.0, 4.0], [2.5, 2.0], [1000.0, 1000.0]

    row = result.row()

    assert row["ratio"] == "2.00 (2.00 - 2.00)"
    assert row["ours % of memory"] == "45.0"
    assert row["llama.cpp % of memory"] == "22.5"


def test_row_of_one_side_has_no_ratio() -> None:
    """A side that failed or was left out is no zero."""
    result = Result("m", CASES["decode"], bytes_per_token=100, ours=[5.0], bandwidth=[1000.0])

    row = result.row()

    assert row["ratio"] == row["llama.cpp tok/s"] == ""


def test_prefill_has_no_share_of_memory() -> None:
    """Its weights are read once for many tokens: arithmetic is the limit."""
    result = Result("m", CASES["prefill"], bytes_per_token=1, ours=[5.0], bandwidth=[1000.0])

    assert result.row()["ours % of memory"] == ""
