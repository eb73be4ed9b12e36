"""`docs/monitoring.md` names every metric with its type and labels, every alert, and no others."""

import re
from pathlib import Path

import pytest

from dashboards import rules
from tests.gateway.told import Told, told

DOC = Path(__file__).parents[2] / "docs/monitoring.md"
_ROW = re.compile(r"^\| (`(?:roundhouse_|vllm:)[^|]*) \| (\w+) \| ([^|]*) ?\| ", re.MULTILINE)
_VLLM_LABELS = ("model_name", "engine")


@pytest.fixture
def documented() -> dict[str, tuple[str, tuple[str, ...]]]:
    found = {}
    for names, kind, labels in _ROW.findall(DOC.read_text()):
        for name in re.findall(r"`([^`]+)`", names):
            found[name] = kind, tuple(re.findall(r"`([^`]+)`", labels))
    return found


def test_every_metric_and_no_other(documented, tmp_path):
    """With its type and its labels; vLLM's without the two that all of them have."""
    expected = {name: (each.kind, _own_labels(name, each)) for name, each in told(tmp_path).items()}

    assert documented == expected


def test_every_alert_and_no_other():
    """In the order in which they are in the file."""
    documented = re.findall(r"^\| `(Roundhouse\w+)` \|", DOC.read_text(), re.MULTILINE)

    assert documented == [rule["alert"] for rule in rules() if "alert" in rule]


def _own_labels(name: str, each: Told) -> tuple[str, ...]:
    if not name.startswith("vllm:"):
        return each.labels
    assert each.labels[:2] == _VLLM_LABELS
    return each.labels[2:]
