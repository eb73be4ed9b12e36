import re
from pathlib import Path

import msgspec

from gateway.config import Limits

DOC = Path(__file__).parents[2] / "docs/configuration.md"
ROW = re.compile(r"^\| `(\w+)` \| (\S+) \|", re.MULTILINE)


def test_the_table_of_limits_is_true():
    """It has every limit there is, with its default, in the order of the code."""
    section = DOC.read_text().split("\n## Limits\n")[1].split("\n## ")[0]
    defaults = msgspec.structs.asdict(Limits())

    shown = {name: "none" if value is None else str(value) for name, value in defaults.items()}
    assert ROW.findall(section) == list(shown.items())
