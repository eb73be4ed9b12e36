"""A family is a declaration: its file stays small."""

from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import engine.models

MAX_LINES = 300


def lines_by_family() -> dict[str, int]:
    folder = Path(engine.models.__path__[0])
    names = [entry.name for entry in iter_modules([str(folder)])]
    modules = [import_module(f"engine.models.{name}") for name in names]
    return {
        module.FAMILY.name: len(Path(module.__file__ or "").read_text().splitlines())
        for module in modules
        if hasattr(module, "FAMILY")
    }


def test_family_files_stay_small(record_property):
    """None is longer than 300 lines; most are below 80. `pytest -s` prints them."""
    lines = lines_by_family()
    for family, count in sorted(lines.items(), key=lambda entry: entry[1]):
        print(f"{count:4} {family}")  # noqa: T201  # what the test is for
    record_property("lines", lines)

    assert max(lines.values()) <= MAX_LINES
    assert sorted(lines.values())[len(lines) // 2] <= 80
