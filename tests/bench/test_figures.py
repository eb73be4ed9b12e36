import math

import pytest
from figures import (
    Spread,
    markdown,
    paired_ratios,
    percentile,
    rate_together,
    rounded,
    weight_bytes_per_token,
)


def test_spread_keeps_extremes() -> None:
    """Nothing that was measured is discarded."""
    spread = Spread.of([3.0, 1.0, 50.0])

    assert spread == Spread(median=3.0, low=1.0, high=50.0, count=3)
    assert str(spread) == "3.00 (1.00 - 50.0)"


def test_spread_of_nothing_is_an_error() -> None:
    """A table never shows a figure that nobody measured."""
    with pytest.raises(ValueError, match="nothing was measured"):
        Spread.of([])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.01234, "0.0123"),
        (1.5, "1.50"),
        (99.96, "100.0"),
        (141.4, "141"),
        (2048, "2048"),
    ],
)
def test_rounded_to_three_digits(value: float, text: str) -> None:
    """Whole digits are never cut off, and three are shown at least."""
    assert rounded(value) == text


def test_ratios_are_of_rounds() -> None:
    """A round that was slow for both sides leaves its ratio alone."""
    assert paired_ratios([100.0, 10.0], [50.0, 5.0]) == [2.0, 2.0]


def test_ratios_need_both_sides_of_each_round() -> None:
    """Rounds that do not match are not paired by chance."""
    with pytest.raises(ValueError, match="zip"):
        paired_ratios([1.0, 2.0], [1.0])


@pytest.mark.parametrize(("percent", "expected"), [(0, 1), (50, 50), (99, 99), (100, 100)])
def test_percentile_is_a_value_that_was_seen(percent: float, expected: float) -> None:
    """The nearest rank: of few values the 99th percentile is the largest."""
    assert percentile(range(1, 101), percent) == expected


def test_percentile_of_nothing() -> None:
    """A single token has no gaps, and that is no error."""
    assert math.isnan(percentile([], 50))


def test_rate_of_one_sequence_leaves_its_prefill_out() -> None:
    """The first token ends the prefill, and counts in no decode."""
    assert rate_together({0: [10.0, 10.5, 11.0]}) == 2.0


def test_rate_counts_only_while_all_decode() -> None:
    """Neither the prefills of those that start late nor a batch that shrinks is measured."""
    times = {0: [0.0, 1.0, 2.0, 3.0], 1: [1.0, 2.0, 3.0, 4.0]}

    assert rate_together(times) == 2.0


def test_rate_without_a_common_time() -> None:
    """Sequences that ran one after the other are no batch."""
    with pytest.raises(ValueError, match="never all decoding"):
        rate_together({0: [0.0, 1.0], 1: [2.0, 3.0]})


def test_embedding_counts_where_it_is_the_output() -> None:
    """Of an embedding a token reads a row, of an output matrix everything."""
    sizes = {"token_embd.weight": 100, "blk.0.attn_q.weight": 7}

    assert weight_bytes_per_token(sizes) == 107
    assert weight_bytes_per_token({**sizes, "output.weight": 50}) == 57


def test_only_used_experts_count() -> None:
    """A token reads its own experts."""
    sizes = {"output.weight": 10, "blk.0.ffn_up_exps.weight": 80}

    assert weight_bytes_per_token(sizes, used_experts=4 / 32) == 20


def test_markdown_has_the_columns_of_the_first_row() -> None:
    """A cell that is missing stays empty."""
    table = markdown([{"a": 1, "b": 2}, {"a": 3}])

    assert table.splitlines() == ["| a | b |", "| --- | --- |", "| 1 | 2 |", "| 3 |  |"]
