"""What the chart's values may be: all described, and what cannot work refused with what to do."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from helm import CHART, PINNED, Refused, only, render

MANY = {"replicaCount": 2, "modelCache": {"accessModes": ["ReadWriteMany"]}}
MODEL = {"models": ["org/name"]}
REFUSED = {
    "ReadWriteMany": {"replicaCount": 2},
    "nothing can be pulled into a modelCache that is readOnly": MODEL
    | {"modelCache": {"type": "existingClaim", "existingClaim": "a", "readOnly": True}},
    "nothing can be pulled while huggingface.offline": MODEL | {"huggingface": {"offline": True}},
    "drain.graceSeconds": {"drain": {"preStopSeconds": 30, "seconds": 60, "graceSeconds": 91}},
    "config.limits.shutdown_seconds": {"config": {"limits": {"shutdown_seconds": 600}}},
    "config.port": {"config": {"port": 9000}},
    "config.models_dir": {"config": {"models_dir": "/elsewhere"}},
    "a job cannot reach an emptyDir": MODEL
    | {"pull": {"by": "job"}, "modelCache": {"type": "emptyDir"}},
    "a job beside the server needs": MODEL | {"pull": {"by": "job"}},
    "hpa and keda would fight": MANY
    | {
        "autoscaling": {
            "hpa": {"enabled": True},
            "keda": {"enabled": True, "prometheusAddress": "http://prometheus"},
        }
    },
    "needs targetCPUUtilizationPercentage or metrics": MANY
    | {"autoscaling": {"hpa": {"enabled": True, "targetCPUUtilizationPercentage": 0}}},
    "autoscaling.keda.prometheusAddress": MANY | {"autoscaling": {"keda": {"enabled": True}}},
    "without anonymous scopes and without keys": {"auth": {"anonymous": []}},
    "config.metrics.vllm_names": MANY
    | {
        "config": {"metrics": {"vllm_names": False}},
        "autoscaling": {"keda": {"enabled": True, "prometheusAddress": "http://prometheus"}},
    },
    "route.parentRefs": {"route": {"enabled": True}},
    "inferencePool.endpointPicker.name": {"inferencePool": {"enabled": True}},
    "modelCache.existingClaim: the claim's name": {"modelCache": {"type": "existingClaim"}},
    "modelCache.hostPath: the path": {"modelCache": {"type": "hostPath"}},
}
"""What Helm has to say -> values that it has to say it of."""


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_work_is_refused(message: str):
    """Values that no cluster could run stop the installation, and the message says which."""
    with pytest.raises(Refused, match=message):
        render(REFUSED[message])


def test_every_refusal_has_a_test():
    """Nothing in the templates says no untested."""
    templates = "".join(path.read_text() for path in (CHART / "templates").rglob("*.*"))
    says = templates.count("{{- fail ") + templates.count("{{ required ")
    of_one_line = {"config.port", "config.models_dir"}
    of_one_line |= {"drain.graceSeconds", "config.limits.shutdown_seconds"}

    assert says == len(REFUSED) - len(of_one_line) + 2


@pytest.mark.parametrize("helm_version", PINNED)
def test_unknown_values_are_refused(helm_version: str):
    """A value with a typing error does not go unnoticed, at any depth of ours."""
    for values in ({"replicas": 2}, {"service": {"prot": 80}}, {"gpu": {"count": "two"}}):
        with pytest.raises(Refused, match=r"replicas|prot|count"):
            render(values, version=helm_version)


def test_labels_of_the_selector_cannot_be_given():
    """They would be there twice, and the Service would lose its pods."""
    with pytest.raises(Refused, match=r"app\.kubernetes\.io/name"):
        render({"podLabels": {"app.kubernetes.io/name": "mine"}})


def test_schema_and_values_name_the_same():
    """Every value is in the schema, and all that the schema names of ours has a default."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    described = set(_described(schema, schema["definitions"], ""))

    assert set(_given(values, described, "")) == described - {"global"} - _OPTIONAL


_OPTIONAL = {
    "resources.claims",
    "pull.resources.claims",
    *(f"probes.{probe}.successThreshold" for probe in ("startup", "liveness", "readiness")),
    *(f"probes.{probe}.initialDelaySeconds" for probe in ("startup", "liveness", "readiness")),
}
"""Kubernetes' own fields, which the schema lets through and we have no default for."""


def _described(schema: dict[str, Any], definitions: dict[str, Any], path: str) -> Iterator[str]:
    """The paths of all values; a table that takes any key is a value itself."""
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    if "properties" not in schema or schema.get("additionalProperties") is not False:
        yield path
        return
    for name, inner in schema["properties"].items():
        yield from _described(inner, definitions, f"{path}.{name}" if path else name)


def _given(values: Any, described: set[str], path: str) -> Iterator[str]:
    if path in described or not isinstance(values, dict):
        yield path
        return
    for name, inner in values.items():
        yield from _given(inner, described, f"{path}.{name}" if path else name)


def test_extension_points_reach_the_pod():
    """What an operator of a cluster must be able to add to a pod arrives there as it is given."""
    given = {
        "resourceClaims": [{"name": "a", "resourceClaimTemplateName": "b"}],
        "priorityClassName": "high",
        "schedulerName": "other",
        "nodeSelector": {"a": "b"},
        "tolerations": [{"operator": "Exists"}],
        "affinity": {"podAffinity": {}},
    }
    pod = only(render(given, kube_version="1.37"), "Deployment")["spec"]["template"]["spec"]

    assert {name: pod[name] for name in given} == given


def test_security_ids_can_be_left_to_openshift():
    """A null takes a default away, so that the cluster chooses the ids."""
    rights = {"runAsUser": None, "runAsGroup": None, "fsGroup": None}
    pod = only(render({"podSecurityContext": rights}), "Deployment")["spec"]["template"]["spec"]

    assert not {name for name, value in pod["securityContext"].items() if value is None}
    assert "runAsUser" not in pod["securityContext"]


def test_recreate_has_no_rolling_update():
    """Kubernetes refuses a strategy that is both."""
    deployment = only(render({"strategy": {"type": "Recreate"}}), "Deployment")

    assert deployment["spec"]["strategy"] == {"type": "Recreate"}


def test_another_list_of_models_is_another_job():
    """A job cannot be changed."""
    values = MANY | {"pull": {"by": "job"}}
    names = {
        only(render(values | {"models": models}), "Job")["metadata"]["name"]
        for models in (["org/a"], ["org/a", "org/b"])
    }

    assert len(names) == 2
