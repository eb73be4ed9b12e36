"""k8s is the chart without Helm, and each of its folders builds with old and new kustomize."""

import functools

import pytest
import yaml

from generated import NAME, files, standalone
from helm import PINNED, Object, render
from manifests import custom_problems, is_custom, problems
from tests.deploy.conftest import FOLDERS, K8S, KUBERNETES, folder_case

EXAMPLES = sorted(path.name for path in K8S.glob("examples/*.yaml"))


@functools.cache
def _chart() -> list[Object]:
    return standalone(render({"fullnameOverride": NAME}))


def test_the_base_is_what_the_chart_makes_of_its_defaults():
    """Who does without Helm misses nothing."""
    built = folder_case("base").objects
    config = next(one for one in built if one["kind"] == "ConfigMap")
    renamed = yaml.safe_dump(built).replace(config["metadata"]["name"], NAME)

    assert _by_name(yaml.safe_load(renamed)) == _by_name(_chart())


def test_generated_files_are_current():
    """`python tests/support/generated.py` would change nothing: neither table nor manifests."""
    for path, text in files().items():
        assert path.read_text() == text, path


@pytest.mark.slow
@pytest.mark.parametrize("kube_version", KUBERNETES)
@pytest.mark.parametrize("name", FOLDERS)
def test_folders_build(name: str, kube_version: str):
    """Old and new kustomize make the same objects, and each Kubernetes takes them."""
    older, newer = (folder_case(name, version).objects for version in PINNED)

    assert _by_name(older) == _by_name(newer)
    assert problems(newer, kube_version) == []
    assert custom_problems(newer) == []


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_are_taken(name: str):
    """Examples of Kubernetes' own kinds fit its schemas."""
    assert problems(_example(name), "1.33") == []


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_custom_resources_of_examples(name: str):
    """Those of Argo CD and Flux fit theirs."""
    assert custom_problems(_example(name)) == []


@pytest.mark.parametrize("name", EXAMPLES)
def test_values_in_examples_are_the_charts(name: str):
    """What an example gives to the chart is what its schema takes."""
    for one in filter(is_custom, _example(name)):
        helm = one["spec"].get("source", {}).get("helm", {})
        values = one["spec"].get("values") or helm.get("valuesObject")
        if values:
            assert render(values)


def test_openshift_chooses_the_ids():
    """Its security contexts refuse ids that are not the project's, and its router has its own names."""
    objects = {one["kind"]: one for one in folder_case("overlays/openshift").objects}
    pod = objects["Deployment"]["spec"]["template"]["spec"]

    assert not {"runAsUser", "runAsGroup", "fsGroup"} & pod["securityContext"].keys()
    assert not [name for name in objects["Ingress"]["metadata"]["annotations"] if "nginx" in name]


def test_nothing_leaves_an_air_gapped_cluster():
    """DNS is all that may be asked, the hub is not, and the image comes from inside."""
    objects = {one["kind"]: one for one in folder_case("overlays/air-gapped").objects}
    pod = objects["Deployment"]["spec"]["template"]["spec"]
    (server,) = pod["containers"]
    ports = [
        port["port"]
        for rule in objects["NetworkPolicy"]["spec"]["egress"]
        for port in rule["ports"]
    ]

    assert set(ports) == {53}
    assert {"name": "HF_HUB_OFFLINE", "value": "1"} in server["env"]
    assert server["image"].startswith("registry.internal/")


def _example(name: str) -> list[Object]:
    return list(yaml.safe_load_all((K8S / "examples" / name).read_text()))


def _by_name(objects: list[Object]) -> dict[tuple[str, str], Object]:
    return {(one["kind"], one["metadata"]["name"]): one for one in objects}
