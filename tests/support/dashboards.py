"""What a dashboard and rules ask of Prometheus, and which metrics that takes."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from gateway_process import ROOT

DASHBOARD = ROOT / "charts/roundhouse/dashboards/roundhouse.json"
RULES = ROOT / "charts/roundhouse/rules/roundhouse.yaml"

METRIC = re.compile(r"\b(?:roundhouse_\w+|vllm:\w+)")
RECORDED = re.compile(r"\broundhouse:[\w:]+")
_SUFFIX = re.compile(r"_(?:total|bucket|sum|count)$")


class Panel(NamedTuple):
    title: str
    expression: str


def panels(path: Path = DASHBOARD) -> list[Panel]:
    """Each question of each panel, with the dashboard's variables filled in as for "All"."""
    made = json.loads(path.read_text())
    return [
        Panel(panel["title"], _filled(target["expr"]))
        for panel in made["panels"]
        for target in panel.get("targets", ())
    ]


def rules(path: Path = RULES) -> Iterator[dict[str, Any]]:
    for group in yaml.safe_load(path.read_text())["groups"]:
        yield from group["rules"]


def families_in(expression: str) -> set[str]:
    """The metrics that an expression needs, as the registry calls them."""
    return {_SUFFIX.sub("", name) for name in METRIC.findall(expression)}


def _filled(expression: str) -> str:
    for variable, value in (("$__rate_interval", "10s"), ("$job", ".+"), ("$model", ".+")):
        expression = expression.replace(variable, value)
    return expression
