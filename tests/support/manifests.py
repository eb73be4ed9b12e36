"""Whether objects are what Kubernetes takes: its own schemas, and custom resources'."""

import functools
import json
import re
import subprocess
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonschema
from referencing import Registry, Resource

from fetched import CACHE, Wheel, bring, fetch
from helm import Object

VALIDATE = Wheel(
    "kubernetes-validate",
    "1.37.0",
    "85136d018a27b50ec7fc049d902bfa5193f5976807e6c0f408e3ab6fe078cad9",
)
"""Its strict schemas are used, and not its code, which reads them anew for every object."""
MODELS = {
    "gateway.networking.k8s.io": "gateway-api@2.0.0",
    "keda.sh": "keda@2.0.0",
    "monitoring.coreos.com": "prometheus-operator@6.0.0",
    "argoproj.io": "argo-cd@4.0.0",
    "helm.toolkit.fluxcd.io": "flux-cd@4.0.0",
    "source.toolkit.fluxcd.io": "flux-cd@4.0.0",
}
"""API group -> the package of @kubernetes-models on npm that knows its custom resources."""
OWN = {"inference.networking.k8s.io/v1/InferencePool": {
    "type": "object",
    "required": ["selector", "targetPorts", "endpointPickerRef"],
    "additionalProperties": False,
    "properties": {
        "selector": {
            "type": "object",
            "required": ["matchLabels"],
            "additionalProperties": False,
            "properties": {
                "matchLabels": {"type": "object", "additionalProperties": {"type": "string"}}
            },
        },
        "targetPorts": {
            "type": "array",
            "minItems": 1,
            "maxItems": 8,
            "items": {
                "type": "object",
                "required": ["number"],
                "additionalProperties": False,
                "properties": {"number": {"type": "integer", "minimum": 1, "maximum": 65535}},
            },
        },
        "appProtocol": {"enum": ["http", "kubernetes.io/h2c"]},
        "endpointPickerRef": {
            "type": "object",
            "required": ["name"],
            "additionalProperties": False,
            "properties": {
                "group": {"type": "string"},
                "kind": {"type": "string"},
                "name": {"type": "string", "minLength": 1},
                "port": {
                    "type": "object",
                    "required": ["number"],
                    "additionalProperties": False,
                    "properties": {"number": {"type": "integer", "minimum": 1}},
                },
                "failureMode": {"enum": ["FailOpen", "FailClose"]},
            },
        },
    },
}}  # fmt: skip
"""Specs that no package has, written after the API's v1 reference."""

_CHECK = """\
const path = require("path");
const fail = (one, error) => console.log(`${one.kind} ${one.metadata.name}: ${error.message}`);
for (const one of JSON.parse(require("fs").readFileSync(0, "utf8"))) {
  const [folder, api] = [one.folder, one.object.apiVersion];
  const Model = require(path.join(folder, api))[one.object.kind];
  if (!Model) fail(one.object, { message: "the package does not know the kind" });
  else try { new Model(one.object).validate(); } catch (error) { fail(one.object, error); }
}
"""


def problems(objects: Sequence[Object], kube_version: str) -> list[str]:
    """What is wrong with Kubernetes' own kinds. A kind that nobody has a schema for is a problem."""
    found = []
    for one in objects:
        if (schema := OWN.get(f"{one['apiVersion']}/{one['kind']}")) is not None:
            errors = jsonschema.Draft7Validator(schema).iter_errors(one["spec"])
        elif is_custom(one):
            continue
        elif (validator := _validator(_schema_name(one), kube_version)) is None:
            found.append(f"{one['kind']} {one['apiVersion']}: no schema")
            continue
        else:
            errors = validator.iter_errors(one)
        named = f"{one['kind']} {one['metadata']['name']}"
        found += [f"{named}: {error.json_path}: {error.message[:300]}" for error in errors]
    return found


def is_custom(one: Object) -> bool:
    return _group(one) in MODELS


def custom_problems(objects: Sequence[Object]) -> list[str]:
    """What is wrong with custom resources, by their packages on npm."""
    asked = [
        {"folder": _package(MODELS[_group(one)]), "object": one}
        for one in objects
        if is_custom(one)
    ]
    node = ["node", "-e", _CHECK]
    given = json.dumps(asked)
    ran = subprocess.run(node, input=given, capture_output=True, text=True, check=False)
    assert not ran.returncode, ran.stderr[-2000:]
    return ran.stdout.splitlines()


def _group(one: Object) -> str:
    return str(one["apiVersion"]).partition("/")[0]


@functools.cache
def _package(name: str) -> str:
    """The folder of a package; each is installed alone, since together npm takes older ones."""
    folder = CACHE / f"npm/{name}"
    package = folder / "node_modules/@kubernetes-models" / name.partition("@")[0]
    if not package.exists():
        folder.mkdir(parents=True, exist_ok=True)
        npm = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--no-save", "--prefix"]
        bring([*npm, str(folder), f"@kubernetes-models/{name}"], name)
    return str(package)


def _schema_name(one: Object) -> str:
    """As the schemas' files are named: networking.k8s.io/v1 is networking-v1."""
    api = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", one["apiVersion"])
    return f"{one['kind'].lower()}-{api}"


@functools.cache
def _validator(name: str, kube_version: str) -> jsonschema.Draft202012Validator | None:
    schema = _schema(name, kube_version)
    if schema is None:
        return None
    registry = Resource.from_contents(schema) @ _definitions(kube_version)
    return jsonschema.Draft202012Validator(schema, registry=registry)


@functools.cache
def _definitions(kube_version: str) -> Registry[Any]:
    return Resource.from_contents(_schema("_definitions", kube_version)) @ Registry()


def _schema(name: str, kube_version: str) -> Any:
    file = _schemas(kube_version) / f"{name}.json"
    return json.loads(file.read_bytes()) if file.exists() else None


@functools.cache
def _schemas(kube_version: str) -> Path:
    """A folder with one version's schemas: the wheel's directory is long to read each time."""
    folder = CACHE / f"schemas-{kube_version}"
    if not (folder / "_definitions.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        inner = f"kubernetes_validate/kubernetes-json-schema/v{kube_version}.0-local-strict/"
        with zipfile.ZipFile(fetch(VALIDATE)) as wheel:
            names = [name for name in wheel.namelist() if name.startswith(inner)]
            for name in sorted(
                names, reverse=True
            ):  # _definitions.json last: it says that all is there
                (folder / Path(name).name).write_bytes(wheel.read(name))
    return folder
