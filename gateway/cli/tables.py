"""Tables for people, as wide as their terminal, and JSON for programs."""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

Json = dict[str, Any]
Columns = Mapping[str, Callable[[Json], str]]

GAP = 2


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def show(
    rows: Sequence[Json],
    columns: Columns,
    as_json: bool,
    if_empty: str,
    expendable: Sequence[str] = (),
) -> None:
    """expendable: columns that go, the first first, where the terminal is too narrow for all."""
    if as_json:
        print_json(rows)
    elif not rows:
        print(if_empty)
    else:
        shown = console()
        shown.print(table(rows, fitting(rows, columns, expendable, shown.width)))


def print_json(value: object) -> None:
    print(json.dumps(value, indent=2))


def console() -> "Console":
    """In a pipe there is no edge to wrap at. NO_COLOR and TERM=dumb are heeded."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else 1000
    return Console(width=width, highlight=False, emoji=False)


def table(rows: Sequence[Json], columns: Columns) -> "Table":
    from rich.table import Table
    from rich.text import Text

    made = Table(*columns, box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    for column in made.columns[1:]:
        column.no_wrap = True
    for row in rows:
        made.add_row(*(Text(cell(row)) for cell in columns.values()))
    return made


def fitting(
    rows: Sequence[Json], columns: Columns, expendable: Sequence[str], width: int
) -> Columns:
    """The columns, less as many of the expendable ones as it takes to fit."""
    kept = dict(columns)
    for name in expendable:
        if _width(rows, kept) <= width:
            break
        kept.pop(name, None)
    return kept


def _width(rows: Sequence[Json], columns: Columns) -> int:
    widths = (max(len(name), *(len(cell(row)) for row in rows)) for name, cell in columns.items())
    return sum(width + GAP for width in widths) - GAP


def decimal(number: float) -> str:
    """Three digits and a prefix: 134515008 is "135 M"."""
    for prefix in ("", "k", "M", "G"):
        if abs(number) < 999.5:
            return f"{number:.3g} {prefix}"
        number /= 1000
    return f"{number:.3g} T"


def num_bytes(number: float) -> str:
    return f"{decimal(number)}B"


def seconds(number: float | None) -> str:
    """How long, as short as it can be said: 0.32 s, 12 s, 4 min, 3 h."""
    if number is None:
        return ""
    if number < 9.95:
        return f"{number:.2g} s"
    if number < 99.5:
        return f"{number:.0f} s"
    return f"{number / 60:.0f} min" if number < 99.5 * 60 else f"{number / 3600:.0f} h"
