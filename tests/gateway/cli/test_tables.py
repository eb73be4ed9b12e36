import pytest

from gateway.cli.tables import decimal, fitting, seconds

ROWS = [{"a": "x" * 10, "b": "y" * 10, "c": "z" * 10}]
COLUMNS = {"A": lambda row: row["a"], "B": lambda row: row["b"], "C": lambda row: row["c"]}


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 "), (999, "999 "), (999.6, "1 k"), (134_515_008, "135 M"), (7e9, "7 G"), (2e12, "2 T")],
)
def test_decimal_keeps_three_digits(number, text):
    """Numbers are short, with the prefix that fits."""
    assert decimal(number) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(None, ""), (0.321, "0.32 s"), (12.3, "12 s"), (240, "4 min"), (3 * 3600, "3 h")],
)
def test_seconds_are_short(number, text):
    """Two digits say enough of a time that is over."""
    assert seconds(number) == text


@pytest.mark.parametrize(("width", "kept"), [(34, "ABC"), (33, "AC"), (20, "A"), (5, "A")])
def test_a_narrow_terminal_has_fewer_columns(width, kept):
    """The least important go first, and what is not expendable stays."""
    assert "".join(fitting(ROWS, COLUMNS, ("B", "C"), width)) == kept
