"""Every case renders, with old and new Helm, to objects that Kubernetes would take."""

import pytest

from helm import CHART, PINNED, Refused, lint, render, run
from manifests import custom_problems, problems
from tests.deploy.conftest import CASES, KUBERNETES, Case, case_of, values_file


def test_objects_fit_kubernetes_own_schemas(case: Case):
    """No object has a field that Kubernetes does not know, and no kind goes unchecked."""
    assert problems(case.objects, "1.33") == []


def test_an_unknown_kind_is_a_problem():
    """A kind that no schema is known for fails, and so does a field that its schema lacks."""
    unknown = {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "a"}}
    wrong = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "datas": {}}

    assert "no schema" in problems([unknown], "1.33")[0]
    assert "datas" in problems([wrong], "1.33")[0]


def test_names_are_unique(case: Case):
    """No two objects of a release are the same one."""
    names = [(one["kind"], one["metadata"]["name"]) for one in case.objects]

    assert len(set(names)) == len(names)


def test_rendering_twice_gives_the_same():
    """Nothing is random, so that GitOps tools see no change where there is none."""
    assert render(values_file("everything")) == case_of("everything").objects


def test_an_old_kubernetes_gets_a_pause_that_it_knows():
    """Before 1.30 there is no `sleep` of its own for preStop."""
    assert "exec" in _pre_stop("1.29")
    assert "sleep" in _pre_stop("1.30")


def test_an_unsupported_kubernetes_is_refused():
    """The chart says which Kubernetes it needs."""
    with pytest.raises(Refused, match=r"1\.28"):
        render(kube_version="1.28.0")


def _pre_stop(kube_version: str) -> dict[str, object]:
    objects = render(kube_version=kube_version)
    (deployment,) = (one for one in objects if one["kind"] == "Deployment")
    return deployment["spec"]["template"]["spec"]["containers"][0]["lifecycle"]["preStop"]


@pytest.mark.slow
@pytest.mark.parametrize("kube_version", KUBERNETES)
@pytest.mark.parametrize("helm_version", PINNED)
@pytest.mark.parametrize("name", CASES)
def test_matrix(name: str, helm_version: str, kube_version: str):
    """Each Helm lints and renders each case for each Kubernetes, custom resources included."""
    lint(values_file(name), kube_version, helm_version)
    made = case_of(name, kube_version, helm_version)

    assert problems(made.objects, kube_version) == []
    assert custom_problems(made.objects) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_old_and_new_helm_agree(name: str):
    """Helm 3 and Helm 4 make the same objects."""
    older, newer = (case_of(name, "1.33", version).objects for version in PINNED)

    assert _in_order(older) == _in_order(newer)


@pytest.mark.slow
def test_custom_problems_are_found():
    """The custom resources' schemas do refuse what is wrong."""
    route = next(one for one in case_of("gateway-api").objects if one["kind"] == "HTTPRoute")
    rule = route["spec"]["rules"][0] | {"timeouts": {"request": "soon"}}

    assert custom_problems([route | {"spec": route["spec"] | {"rules": [rule]}}])


@pytest.mark.slow
@pytest.mark.parametrize("helm_version", PINNED)
def test_the_chart_is_packaged(helm_version: str, tmp_path):
    """A package is made, and what CI alone needs is left out of it."""
    run(["package", str(CHART), "-d", str(tmp_path)], version=helm_version)
    (package,) = tmp_path.glob("*.tgz")
    packaged = run(["show", "values", str(package)], version=helm_version)

    assert packaged.strip() == (CHART / "values.yaml").read_text().strip()


def _in_order(objects):
    return sorted(objects, key=lambda one: (one["kind"], one["metadata"]["name"]))
