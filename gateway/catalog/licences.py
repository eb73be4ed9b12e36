"""Where a model's terms of use are written, as far as its files tell."""

import re
from pathlib import Path

FOLDER = "licences"
"""Beside a file in the models folder, where `roundhouse demo` puts them by the model's name."""

_TERMS = re.compile(r"(LICEN[CS]E|NOTICE|USE_POLICY|COPYING)([-._]\w+)*", re.IGNORECASE)


def licences_of(place: Path) -> list[str]:
    """Paths of files with a model's terms: in its folder, or beside its file."""
    folder = place if place.is_dir() else place.parent
    try:
        found = [path for path in folder.iterdir() if _TERMS.fullmatch(path.name)]
        found += [path for path in (folder / FOLDER).glob("*") if path.stem == place.stem]
    except OSError:
        return []
    return sorted(str(path) for path in found if path.is_file())
