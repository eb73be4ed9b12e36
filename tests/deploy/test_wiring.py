"""What no schema sees: that the objects of a release fit each other."""

import pytest

from helm import of_kind, only
from tests.deploy.conftest import CASES, FOLDERS, Case, case_of, folder_case
from tests.deploy.release import (
    backends_of,
    config_of,
    containers_of,
    leaves_of,
    own_containers_of,
    pods_of,
    references_of,
    selectors_of,
    server_of,
    service_of,
)

VERSIONED = {"app.kubernetes.io/version", "helm.sh/chart"}


@pytest.fixture(params=[*CASES, *FOLDERS])
def case(request: pytest.FixtureRequest) -> Case:
    """What Helm makes of the chart's cases, and kustomize of the folders of k8s."""
    return case_of(request.param) if request.param in CASES else folder_case(request.param)


def test_selectors_find_the_pods_and_no_others(case: Case):
    """Whatever selects pods finds the server's, and neither jobs nor tests."""
    labels = [pod["metadata"]["labels"].items() for pod in pods_of(case)]
    for selector in selectors_of(case):
        assert [selector.items() <= one for one in labels] == [True] + [False] * (len(labels) - 1)
        assert not VERSIONED & selector.keys()


def test_ports_exist(case: Case):
    """Probes, the Service, and all that points to it name ports that are there."""
    server = server_of(case)
    ports = {port["name"]: port["containerPort"] for port in server["ports"]}
    (service_port,) = only(case.objects, "Service")["spec"]["ports"]
    probes = [server[f"{name}Probe"] for name in ("startup", "liveness", "readiness")]

    assert {probe["httpGet"]["port"] for probe in probes} <= ports.keys()
    assert service_port["targetPort"] in ports
    for backend in backends_of(case):
        assert backend == (service_of(case), service_port["name"], service_port["port"])
    for pool in of_kind(case.objects, "InferencePool"):
        assert [port["number"] for port in pool["spec"]["targetPorts"]] == [ports["http"]]
    for monitor in of_kind(case.objects, "ServiceMonitor"):
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        assert wanted <= only(case.objects, "Service")["metadata"]["labels"].items()
        assert monitor["spec"]["endpoints"][0]["port"] == service_port["name"]
    for monitor in of_kind(case.objects, "PodMonitor"):
        assert monitor["spec"]["podMetricsEndpoints"][0]["port"] in ports


def test_what_pods_refer_to_exists(case: Case):
    """Each claim, secret, config map and account is of the release, or named by the values."""
    made = {(one["kind"], one["metadata"]["name"]) for one in case.objects}
    named = set(leaves_of(case.values)) | {"default"}
    for pod in pods_of(case):
        for kind, name in references_of(pod["spec"]):
            assert (kind, name) in made or name in named, (kind, name)


def test_mounts_have_volumes(case: Case):
    """What a container mounts is a volume of its pod."""
    for pod in pods_of(case):
        volumes = {volume["name"] for volume in pod["spec"].get("volumes", [])}
        for container in containers_of(pod):
            assert {mount["name"] for mount in container.get("volumeMounts", [])} <= volumes


def test_only_one_says_how_many_pods(case: Case):
    """A Deployment that something scales says no number itself."""
    deployment = only(case.objects, "Deployment")
    scalers = of_kind(case.objects, "HorizontalPodAutoscaler")
    scalers += of_kind(case.objects, "ScaledObject")

    assert ("replicas" in deployment["spec"]) is not bool(scalers)
    for scaler in scalers:
        assert scaler["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]


def test_a_single_pod_has_no_disruption_budget(case: Case):
    """It would block every node's drain."""
    is_single = only(case.objects, "Deployment")["spec"].get("replicas") == 1

    assert bool(of_kind(case.objects, "PodDisruptionBudget")) is not is_single


def test_the_kubelet_waits_longer_than_streams(case: Case):
    """The grace is more than the pause and the drain together, which follow each other."""
    pod = only(case.objects, "Deployment")["spec"]["template"]["spec"]
    pause = pod["containers"][0]["lifecycle"]["preStop"].get("sleep", {"seconds": 0})["seconds"]
    config = config_of(case)

    assert pod["terminationGracePeriodSeconds"] > pause + config["limits"]["shutdown_seconds"]


def test_readiness_never_waits_for_models(case: Case):
    """Probes ask what answers without a model, by a name that any allowed_hosts lets in."""
    server = server_of(case)
    for name, path in (("startup", "/readyz"), ("liveness", "/livez"), ("readiness", "/readyz")):
        asked = server[f"{name}Probe"]["httpGet"]

        assert asked["path"] == path
        assert asked["httpHeaders"] == [{"name": "Host", "value": "localhost"}]


def test_pods_are_alike(case: Case):
    """Jobs and tests run as the server does: account, rights, image, secrets and place."""
    common = ("serviceAccountName", "securityContext", "imagePullSecrets", "nodeSelector")
    common += ("tolerations", "affinity", "priorityClassName", "automountServiceAccountToken")
    server, *others = pods_of(case)
    for pod in others:
        for key in common:
            assert pod["spec"].get(key) == server["spec"].get(key), key
        container = pod["spec"]["containers"][0]
        for key in ("image", "imagePullPolicy", "securityContext", "env", "envFrom"):
            assert container.get(key) == server_of(case).get(key), key


def test_pods_meet_the_restricted_profile(case: Case):
    """As pod security's `restricted` profile wants it, and the root is read-only as well."""
    for pod in pods_of(case):
        rights = pod["spec"]["securityContext"]
        assert rights["runAsNonRoot"]
        assert rights.get("runAsUser", 10001) == 10001  # OpenShift chooses itself
        assert rights["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not pod["spec"]["automountServiceAccountToken"]
        for container in own_containers_of(pod):
            assert not container["securityContext"]["allowPrivilegeEscalation"]
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert container["securityContext"]["readOnlyRootFilesystem"]
            assert container["resources"]["requests"]
            assert container["resources"]["limits"]["memory"]


def test_all_that_libraries_write_has_a_volume(case: Case):
    """HOME, caches, the models' images and temporary files lie on volumes that can be written."""
    server = server_of(case)
    writable = [m["mountPath"] for m in server["volumeMounts"] if not m.get("readOnly")]
    folders = [one["value"] for one in server["env"] if one["name"].endswith(("HOME", "_DIR"))]

    assert len(folders) == 4
    for folder in [*folders, "/tmp", config_of(case)["image_cache"]]:
        assert any(folder == path or folder.startswith(f"{path}/") for path in writable), folder


@pytest.mark.parametrize("name", ["networkpolicy-strict"])
def test_a_strict_policy_lets_in_who_has_to_come(name: str):
    """The ingress controller, Prometheus and `helm test` reach the port; DNS is reached."""
    objects = case_of(name).objects
    policy = only(objects, "NetworkPolicy")["spec"]
    (rule,) = policy["ingress"]
    namespaces = [peer["namespaceSelector"] for peer in rule["from"] if "namespaceSelector" in peer]
    names = [selector["matchLabels"]["kubernetes.io/metadata.name"] for selector in namespaces]
    (pods,) = (peer["podSelector"]["matchLabels"] for peer in rule["from"] if "podSelector" in peer)

    assert rule["ports"] == [{"port": "http"}]
    assert names == ["ingress-nginx", "monitoring"]
    assert pods.items() <= only(objects, "Pod")["metadata"]["labels"].items()
    assert [port["port"] for port in policy["egress"][0]["ports"]] == [53, 53]
    assert all(port["port"] != 443 for rule in policy["egress"] for port in rule["ports"])


def test_the_default_policy_lets_everybody_in_the_cluster_in():
    """A rule without `from` names nobody, which means all; the hub is reached over HTTPS."""
    policy = only(case_of("default").objects, "NetworkPolicy")["spec"]

    assert policy["ingress"] == [{"ports": [{"port": "http"}]}]
    assert {"port": 443, "protocol": "TCP"} in policy["egress"][1]["ports"]


def test_gpus_are_the_servers_alone():
    """A device plugin counts a GPU for every container that asks, so no other one does."""
    limits = [
        container["resources"]["limits"].get("nvidia.com/gpu")
        for pod in pods_of(case_of("gpu"))
        for container in containers_of(pod)
    ]

    assert sorted(limit for limit in limits if limit) == ["2"]
