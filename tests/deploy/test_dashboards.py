"""The chart's dashboard and rules ask for what there is, and alerts ring when they are to."""

import subprocess
from pathlib import Path

import pytest
import yaml

from dashboards import DASHBOARD, RECORDED, RULES, families_in, panels, rules
from debian import debian_program
from tests.gateway.told import told

ALERTS = Path(__file__).parent / "alerts.yaml"
NEEDED = {"summary", "description", "runbook"}


@pytest.fixture
def families(tmp_path: Path) -> set[str]:
    return {name.removesuffix("_total") for name in told(tmp_path)}


def test_panels_ask_for_what_is_told(families):
    """A metric that was renamed leaves a dashboard empty, and says nothing."""
    for panel in panels():
        assert families_in(panel.expression), panel
        assert families_in(panel.expression) <= families, panel


def test_rules_ask_for_what_is_told(families):
    """Of the registry, or of another rule; runbooks speak of metrics that there are."""
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    for rule in rules():
        assert families_in(rule["expr"]) <= families, rule
        used = set(RECORDED.findall(rule["expr"]))
        assert used <= recorded, rule
        for text in rule.get("annotations", {}).values():
            assert families_in(text) <= families, text


def test_alerts_say_what_to_do():
    """Each with what it means, and what can be done."""
    alerts = [rule for rule in rules() if "alert" in rule]

    assert alerts
    assert all(rule["annotations"].keys() == NEEDED for rule in alerts)
    assert all(rule["labels"]["severity"] in {"warning", "critical"} for rule in alerts)


def test_every_alert_is_tried():
    """What promtool is told below rings each of them."""
    tried = ALERTS.read_text()

    assert [r["alert"] for r in rules() if "alert" in r and r["alert"] not in tried] == []


def test_the_dashboard_can_be_read():
    """Its panels do not lie upon each other, and none has another's number."""
    made = yaml.safe_load(DASHBOARD.read_text())  # JSON is YAML
    places = [tuple(panel["gridPos"].values()) for panel in made["panels"]]
    numbers = [panel["id"] for panel in made["panels"]]

    assert len(set(places)) == len(places)
    assert len(set(numbers)) == len(numbers)
    assert all(panel["description"] for panel in made["panels"] if panel["type"] != "row")


@pytest.mark.slow
@pytest.mark.parametrize("command", [("check", RULES), ("test", ALERTS)])
def test_promtool(command):
    """Prometheus' own tool reads the rules, and rings the alerts over made-up hours."""
    verb, path = command
    promtool = debian_program("prometheus", "usr/bin/promtool")

    ran = subprocess.run(
        [promtool, verb, "rules", path],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )

    assert ran.returncode == 0, ran.stdout
