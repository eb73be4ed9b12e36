"""Files of charts/ and k8s/ that are made from the chart: `python tests/support/generated.py`.

The table of values in the chart's README comes from the comments in values.yaml; k8s/base, and the
objects that k8s/components add to it, come from `helm template`.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from helm import CHART, RELEASE, ROOT, Object, render

README = CHART / "README.md"
MARKS = "<!-- values -->\n", "<!-- /values -->\n"
NAME = "roundhouse"
HEADER = "# Made from charts/roundhouse by tests/support/generated.py; not to be edited.\n"

COMPONENTS: dict[str, dict[str, Any]] = {
    "monitoring": {
        "metrics": {
            "serviceMonitor": {"enabled": True},
            "prometheusRule": {"enabled": True},
            "dashboards": {"enabled": True},
        }
    },
    "gateway-api": {"route": {"enabled": True, "parentRefs": [{"name": "public"}]}},
    "ingress": {"ingress": {"enabled": True}},
    "keda": {
        "modelCache": {"accessModes": ["ReadWriteMany"]},
        "autoscaling": {
            "keda": {"enabled": True, "prometheusAddress": "http://prometheus.monitoring:9090"}
        },
    },
    "inferencepool": {
        "route": {"enabled": True, "parentRefs": [{"name": "inference"}]},
        "inferencePool": {"enabled": True, "endpointPicker": {"name": "picker"}},
    },
}
"""Component -> the values whose further objects it has."""


def files() -> dict[Path, str]:
    """Every file and what it has to say."""
    base = standalone(render(_named({})))
    made = {ROOT / "k8s/base" / _file(one): _dump(one) for one in base if not _is_config(one)}
    config = next(one for one in base if _is_config(one))
    made[ROOT / "k8s/base/roundhouse.json"] = config["data"]["roundhouse.json"]
    for name, values in COMPONENTS.items():
        for one in _further(standalone(render(_named(values))), base):
            made[ROOT / "k8s/components" / name / _file(one)] = _dump(one)
    made[README] = readme(README.read_text())
    return made


def standalone(objects: Sequence[Object]) -> list[Object]:
    """Objects without what only Helm has a use for; kustomize says the namespace."""
    return [_without_helm(one) for one in objects if not _is_hook(one)]


def readme(text: str) -> str:
    """The README with its table of values made anew."""
    before, _, rest = text.partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    return before + MARKS[0] + "\n".join(table()) + "\n" + MARKS[1] + after


def table() -> Iterator[str]:
    """Lines of Markdown: each value, its default, and the comment above it."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    yield "| Value | Default | Meaning |"
    yield "|---|---|---|"
    for path, meaning in comments((CHART / "values.yaml").read_text()):
        default = values
        for name in path.split("."):
            default = default[name]
        if meaning or not (isinstance(default, dict) and default):
            shown = json.dumps(default).replace("|", "\\|")
            shown = "" if isinstance(default, dict) and len(shown) > 60 else f"`{shown}`"
            yield f"| `{path}` | {shown} | {meaning} |"


def comments(text: str) -> Iterator[tuple[str, str]]:
    """Every key of block style in a file of values, with what the `# --` comment above it says."""
    path: list[tuple[int, str]] = []
    meaning: list[str] = []
    for line in text.splitlines():
        if said := re.fullmatch(r" *# (--)? ?(.*)", line):
            meaning = [said[2]] if said[1] else [*meaning, said[2]] if meaning else []
        elif key := re.match(r"( *)([\w-]+):", line):
            path = [(depth, name) for depth, name in path if depth < len(key[1])]
            path.append((len(key[1]), key[2]))
            yield ".".join(name for _, name in path), " ".join(meaning)
            meaning = []
        else:
            meaning = []


def _named(values: Mapping[str, Any]) -> dict[str, Any]:
    return {"fullnameOverride": NAME, **values}


def _is_hook(one: Object) -> bool:
    return "helm.sh/hook" in one["metadata"].get("annotations", {})


def _is_config(one: Object) -> bool:
    return one["kind"] == "ConfigMap" and one["metadata"]["name"] == NAME


def _without_helm(value: Any) -> Any:
    """A copy without Helm's labels and annotations, and named after us instead of the release."""
    if isinstance(value, list):
        return [_without_helm(one) for one in value]
    if not isinstance(value, dict):
        return NAME if value == RELEASE else value
    left = {
        name: _without_helm(one)
        for name, one in value.items()
        if not name.startswith(("helm.sh/", "checksum/"))
        and name not in {"app.kubernetes.io/managed-by", "namespace"}
    }
    return {name: one for name, one in left.items() if one != {} or value[name] == {}}


def _further(objects: Sequence[Object], base: Sequence[Object]) -> list[Object]:
    known = {(one["kind"], one["metadata"]["name"]) for one in base}
    return [one for one in objects if (one["kind"], one["metadata"]["name"]) not in known]


def _file(one: Object) -> str:
    return f"{one['kind'].lower()}.yaml"


class _Dumper(yaml.SafeDumper):
    """Lists are indented, and texts of several lines are blocks."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def _dump(one: Object) -> str:
    return HEADER + yaml.dump(one, Dumper=_Dumper, sort_keys=False, width=110)


if __name__ == "__main__":
    for file, text in files().items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
