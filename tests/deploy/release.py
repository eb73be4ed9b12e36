"""What there is in the objects of a release, for tests that ask whether it fits."""

import json
from collections.abc import Iterator
from typing import Any

from helm import Object, of_kind, only
from tests.deploy.conftest import Case


def config_of(case: Case) -> dict[str, Any]:
    maps = [one.get("data") or {} for one in of_kind(case.objects, "ConfigMap")]
    return json.loads(next(data["roundhouse.json"] for data in maps if "roundhouse.json" in data))


def service_of(case: Case) -> str:
    return str(only(case.objects, "Service")["metadata"]["name"])


def pods_of(case: Case) -> list[Object]:
    """The server's pod first."""
    deployment, jobs = only(case.objects, "Deployment"), of_kind(case.objects, "Job")
    made = [one["spec"]["template"] for one in (deployment, *jobs)]
    return [*made, *of_kind(case.objects, "Pod")]


def containers_of(pod: Object) -> list[Object]:
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


def own_containers_of(pod: Object) -> list[Object]:
    """Without those that the values bring."""
    return [one for one in containers_of(pod) if "busybox" not in one["image"]]


def server_of(case: Case) -> Object:
    return pods_of(case)[0]["spec"]["containers"][0]


def selectors_of(case: Case) -> Iterator[dict[str, str]]:
    for one in case.objects:
        spec = one.get("spec", {})
        match one["kind"]:
            case "Service":
                yield spec["selector"]
            case "Deployment" | "PodDisruptionBudget" | "InferencePool" | "PodMonitor":
                yield spec["selector"]["matchLabels"]
            case "NetworkPolicy":
                yield spec["podSelector"]["matchLabels"]
    for constraint in pods_of(case)[0]["spec"]["topologySpreadConstraints"]:
        yield constraint["labelSelector"]["matchLabels"]


def backends_of(case: Case) -> Iterator[tuple[str, str, int]]:
    """Service, port name and port number that ingresses and routes send to."""
    (port,) = only(case.objects, "Service")["spec"]["ports"]
    for ingress in of_kind(case.objects, "Ingress"):
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                service = path["backend"]["service"]
                yield service["name"], service["port"]["name"], port["port"]
    for route in of_kind(case.objects, "HTTPRoute"):
        for rule in route["spec"]["rules"]:
            for backend in rule["backendRefs"]:
                if backend.get("kind") == "InferencePool":
                    pool = only(case.objects, "InferencePool")
                    assert backend["name"] == pool["metadata"]["name"]
                else:
                    yield backend["name"], port["name"], backend["port"]


def references_of(spec: Object) -> Iterator[tuple[str, str]]:
    yield "ServiceAccount", spec["serviceAccountName"]
    for secret in spec.get("imagePullSecrets", []):
        yield "Secret", secret["name"]
    for volume in spec.get("volumes", []):
        if "configMap" in volume:
            yield "ConfigMap", volume["configMap"]["name"]
        if "secret" in volume:
            yield "Secret", volume["secret"]["secretName"]
        if "persistentVolumeClaim" in volume:
            yield "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]
    for container in spec["containers"]:
        for variable in container.get("env", []):
            if "secretKeyRef" in variable.get("valueFrom", {}):
                yield "Secret", variable["valueFrom"]["secretKeyRef"]["name"]


def leaves_of(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for one in value.values():
            yield from leaves_of(one)
    elif isinstance(value, list):
        for one in value:
            yield from leaves_of(one)
    elif isinstance(value, str):
        yield value
