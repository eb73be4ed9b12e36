"""Other people's opinions of our manifests."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from fetched import environment
from helm import ROOT
from tests.deploy.conftest import CASES, case_of

ACCEPTED = {
    "CKV_K8S_8": "jobs and tests have no probes",
    "CKV_K8S_9": "as CKV_K8S_8",
    "CKV_K8S_11": "a limit on CPUs only makes a server wait that nobody else would have used them for",
    "CKV_K8S_15": "a tag of ours is never pushed twice",
    "CKV_K8S_35": "huggingface_hub reads its token from the environment",
    "CKV_K8S_43": "the digest is of an image that whoever installs it builds",
    "CKV2_K8S_6": "nobody connects to jobs and tests",
}
"""What checkov finds, and why it stays. What is not here has to be mended."""

pytestmark = pytest.mark.slow


def test_checkov_finds_what_it_found_before(tmp_path: Path):
    """No case has a weakness beyond those that are accepted, and each of those is still found."""
    for name in CASES:
        if name != "everything":  # it brings containers that are not ours
            (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump_all(case_of(name).objects))
    checkov = environment("checkov", ["checkov==3.3.30"]) / "checkov"
    command = [str(checkov), "-d", str(tmp_path), "--framework", "kubernetes", "-o", "json"]
    ran = subprocess.run([*command, "--compact"], capture_output=True, text=True, check=False)
    failed = json.loads(ran.stdout)["results"]["failed_checks"]

    assert {one["check_id"] for one in failed} == set(ACCEPTED)


def test_yamllint_finds_nothing():
    """Values, examples and manifests are tidy."""
    yamllint = environment("yamllint", ["yamllint==1.38.0"]) / "yamllint"
    folders = ["charts", "k8s"]
    ran = subprocess.run(
        [str(yamllint), "-s", *folders], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert not ran.returncode, ran.stdout
