"""Each `ci/*-values.yaml` of the chart is a case: a way to install it that somebody needs."""

import functools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from fetched import CACHE
from helm import CHART, PINNED, ROOT, Object, kustomize, render

KUBERNETES = ("1.29", "1.33", "1.37")
"""The oldest that the chart takes, one between, and the newest with a schema."""
CASES = sorted(path.name.removesuffix("-values.yaml") for path in CHART.glob("ci/*-values.yaml"))
SCRATCH = CACHE / "component"  # kustomize takes relative folders only
K8S = ROOT / "k8s"
COMPONENTS = sorted(path.parent.name for path in K8S.glob("components/*/kustomization.yaml"))
FOLDERS: list[Any] = ["base", *sorted(f"overlays/{path.name}" for path in K8S.glob("overlays/*"))]
FOLDERS += [pytest.param(f"components/{name}", marks=pytest.mark.slow) for name in COMPONENTS]
"""All that `kubectl apply -k` takes, and the components, which are laid over the base."""


@dataclass(frozen=True)
class Case:
    """name: of the file in `ci`, or of the folder. values: what it says. objects: what comes of it."""

    name: str
    values: dict[str, Any]
    objects: list[Object]


@functools.cache
def case_of(name: str, kube_version: str = "1.33", helm_version: str | None = None) -> Case:
    path = values_file(name)
    objects = render(path, kube_version=kube_version, version=helm_version)
    return Case(name, yaml.safe_load(path.read_text()), objects)


@functools.cache
def folder_case(name: str, helm_version: str = max(PINNED)) -> Case:
    """What a folder of k8s makes, with the kustomize that goes with a Helm."""
    folder = K8S / name
    said = [yaml.safe_load(path.read_text()) for path in sorted(folder.glob("*.yaml"))]
    if not name.startswith("components/"):
        return Case(name, {"files": said}, kustomize(folder, helm_version))
    over_base = {"resources": [_relative(K8S / "base")], "components": [_relative(folder)]}
    SCRATCH.mkdir(parents=True, exist_ok=True)
    (SCRATCH / "kustomization.yaml").write_text(yaml.safe_dump(over_base))
    return Case(name, {"files": said}, kustomize(SCRATCH, helm_version))


def _relative(path: Path) -> str:
    return os.path.relpath(path, SCRATCH)


def values_file(name: str) -> Path:
    return CHART / f"ci/{name}-values.yaml"


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    """What the newest Helm makes of each case."""
    return case_of(request.param)
