"""Our own programs take what the chart renders: configuration, arguments, keys, environment."""

import json
from pathlib import Path
from typing import Any

import pytest

from dashboards import families_in
from gateway.__main__ import parser
from gateway.config import Settings, load_settings
from gateway.keys.file import read_keys
from gateway.metrics.names import WAITING
from helm import Object, of_kind, only, render
from tests.deploy.conftest import Case, case_of


def test_the_configuration_is_read(case: Case, tmp_path: Path):
    """Each case's configuration is one that `serve` starts with, and it is what was meant."""
    settings = _settings(case.objects, tmp_path)

    assert (settings.host, settings.port, settings.models_dir) == ("0.0.0.0", 8080, Path("/models"))
    assert settings.keys.anonymous is not None
    assert settings.log_format == "json"


def test_the_arguments_are_read(case: Case):
    """Each container of our image has a command line that our parser takes."""
    for container in _containers(case.objects):
        args = parser().parse_args(container["args"])

        assert args.config == Path("/etc/roundhouse/roundhouse.json")


def test_values_reach_the_configuration(tmp_path: Path):
    """What `config` says lies over what the chart sets; the rest of a table stays."""
    config = {"limits": {"wait_timeout_seconds": 9}, "image_cache": "off", "aliases": {"a": "b"}}
    settings = _settings(render({"config": config, "drain": {"seconds": 70}}), tmp_path)

    assert settings.limits.wait_timeout_seconds == 9
    assert settings.limits.shutdown_seconds == 70
    assert settings.image_cache == "off"
    assert settings.aliases == {"a": "b"}


def test_keys_of_the_secret_are_read(tmp_path: Path):
    """The secret's file holds keys as the configuration's `keys.file` reads them."""
    objects = case_of("keys").objects
    file = tmp_path / "keys.json"
    file.write_text(only(objects, "Secret")["stringData"]["keys.json"])
    mounts = _server(objects)["volumeMounts"]
    folder = next(mount["mountPath"] for mount in mounts if mount["name"] == "keys")

    assert [key.name for key in read_keys(file)] == ["application"]
    assert str(_settings(objects, tmp_path).keys.file) == f"{folder}/keys.json"
    assert _settings(objects, tmp_path).keys.anonymous == []


def test_no_key_is_in_a_config_map():
    """What is secret stands in Secrets, whatever brings it."""
    values = {
        "auth": {"keys": [{"name": "a", "key": "sk-very-secret-key"}]},
        "huggingface": {"token": "hf-very-secret-token"},
    }
    said = json.dumps([one for one in render(values) if one["kind"] != "Secret"])

    assert "very-secret" not in said


def test_changed_keys_do_not_restart_pods():
    """They are read again as they change; a restart would unload every model."""
    pods = [
        only(render({"auth": {"keys": [{"name": name, "hash": "0" * 64}]}}), "Deployment")
        for name in ("a", "b")
    ]

    assert pods[0] == pods[1]


def test_a_changed_configuration_does():
    """The pods' annotation says which configuration they were started with."""
    pods = [only(render({"config": config}), "Deployment") for config in ({}, {"dtype": "float32"})]

    assert pods[0] != pods[1]


def test_variables_of_services_are_not_there(case: Case):
    """A Service named roundhouse would set ROUNDHOUSE_PORT, which is a setting."""
    assert (
        only(case.objects, "Deployment")["spec"]["template"]["spec"]["enableServiceLinks"] is False
    )


def test_pods_are_scaled_by_a_metric_of_ours():
    """KEDA's question is about a metric that is there."""
    (trigger,) = only(case_of("keda").objects, "ScaledObject")["spec"]["triggers"]

    assert families_in(trigger["metadata"]["query"]) == set(WAITING.vllm)


def test_https_is_spoken_everywhere():
    """Where the server has a certificate, all who ask it know."""
    objects = case_of("tls").objects
    server, (endpoint,) = _server(objects), only(objects, "ServiceMonitor")["spec"]["endpoints"]
    annotations = only(objects, "Ingress")["metadata"]["annotations"]

    assert {server[f"{name}Probe"]["httpGet"]["scheme"] for name in ("startup", "liveness")} == {
        "HTTPS"
    }
    assert only(objects, "Service")["spec"]["ports"][0]["appProtocol"] == "https"
    assert endpoint["scheme"] == "https"
    assert annotations["nginx.ingress.kubernetes.io/backend-protocol"] == "HTTPS"
    assert "https://" in only(objects, "Pod")["spec"]["containers"][0]["command"][2]


@pytest.mark.parametrize("mode", ["initContainer", "job"])
def test_models_are_pulled_with_room_to_write(mode: str):
    """Whatever pulls has the models' volume, the token and the server's configuration."""
    values: dict[str, Any] = {
        "models": ["org/name:Q4_K_M"],
        "pull": {"by": mode},
        "modelCache": {"accessModes": ["ReadWriteMany"]},
        "huggingface": {"existingSecret": "hub"},
    }
    (puller,) = (one for one in _containers(render(values)) if one["args"][0] == "pull")

    assert puller["args"][-1] == "org/name:Q4_K_M"
    assert {"name": "models", "mountPath": "/models"} in puller["volumeMounts"]
    assert "HF_TOKEN" in [variable["name"] for variable in puller["env"]]


def _settings(objects: list[Object], folder: Path) -> Settings:
    maps = [one.get("data") or {} for one in of_kind(objects, "ConfigMap")]
    file = folder / "roundhouse.json"
    file.write_text(next(data["roundhouse.json"] for data in maps if "roundhouse.json" in data))
    return load_settings(file, environ={})


def _server(objects: list[Object]) -> Object:
    return only(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]


def _containers(objects: list[Object]) -> list[Object]:
    """All that run our command."""
    workloads = [*of_kind(objects, "Deployment"), *of_kind(objects, "Job")]
    pods = [one["spec"]["template"]["spec"] for one in workloads]
    found = [one for pod in pods for one in (*pod.get("initContainers", []), *pod["containers"])]
    return [one for one in found if "args" in one]
