from pathlib import Path

import pytest

from gateway.config import Settings
from gateway.config.reference import renewed, table_of

DOC = Path(__file__).parents[3] / "docs/configuration.md"


def test_the_documents_tables_are_those_of_the_structs():
    """If not: `roundhouse config docs docs/configuration.md`."""
    text = DOC.read_text()

    assert renewed(text) == text, "run: roundhouse config docs docs/configuration.md"


def test_a_row_says_type_bounds_default_and_restart():
    """As an operator reads them."""
    table = table_of(Settings)

    assert "| `port` | whole number, from 0, up to 65535 | `8080` |" in table
    assert "Needs a restart." in next(r for r in table.splitlines() if r.startswith("| `port`"))
    assert "restart" not in next(r for r in table.splitlines() if r.startswith("| `max_context`"))


@pytest.mark.parametrize("text", ["", "<!-- settings: Limit -->\n<!-- end -->"])
def test_marks_that_are_missing_or_wrong(text):
    """A table that nobody asked for would never be seen to be missing."""
    with pytest.raises(ValueError, match="Limits"):
        renewed(text)
