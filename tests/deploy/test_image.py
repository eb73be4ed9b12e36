"""The Dockerfile, as far as it can be followed without a container."""

import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from gateway.__main__ import parser
from helm import ROOT, only, render

TEXT = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
FINAL = TEXT.rpartition("\nFROM ")[2]


def test_what_is_copied_is_there_and_not_ignored():
    """Every file that a stage copies is in the build's context; models and caches are not."""
    given = _context()
    for line in re.findall(r"^COPY (?!--from)(.+)$", TEXT, re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists()
            assert source in given

    assert not {"models", "build", "tests", ".git"} & given


def test_the_image_runs_as_the_chart_has_it():
    """Same user, same command, same folders: what the chart mounts is what the image writes."""
    (user,) = re.findall(r"^USER (\S+)$", FINAL, re.MULTILINE)
    pod = only(render(), "Deployment")["spec"]["template"]["spec"]
    rights = pod["securityContext"]
    mounts = {mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}

    assert user == f"{rights['runAsUser']}:{rights['runAsGroup']}"
    assert set(json.loads(_instruction("VOLUME"))) <= mounts
    assert int(_instruction("EXPOSE")) == pod["containers"][0]["ports"][0]["containerPort"]


def test_its_command_is_ours():
    """The entry point is our command, and its arguments are what our parser takes."""
    entry, arguments = (json.loads(_instruction(name)) for name in ("ENTRYPOINT", "CMD"))

    assert entry == ["tini", "--", "roundhouse"]
    assert parser().parse_args(arguments).models_dir == Path("/models")


def test_the_environment_sets_nothing_of_ours():
    """It would win over a file of settings: a door that the chart closes would be open."""
    assert "ROUNDHOUSE_" not in FINAL


def test_what_is_installed_is_pinned():
    """Every pip install goes by the constraints."""
    installs = re.findall(r"pip install (.+)", TEXT)

    assert len(installs) == 2
    assert all(install.startswith("-c constraints.txt ") for install in installs)


@pytest.mark.slow
def test_its_steps_make_a_command_that_runs(tmp_path: Path):
    """From the build's context alone our command is installed, and starts without a HOME."""
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    pip = [str(venv / "bin/pip"), "install", "-q", "--no-deps", str(_copied(tmp_path / "context"))]
    # tests/test_packaging.py has the compiler's part
    subprocess.run(pip, env=os.environ | {"CC": "/bin/false", "CXX": "/bin/false"}, check=True)
    (site,) = venv.glob("lib/python*/site-packages")
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib"))
    command = [str(venv / "bin/roundhouse"), "version"]

    environment = {"HOME": "/nonexistent"}
    assert subprocess.check_output(command, env=environment, cwd="/", text=True)[0].isdigit()


def test_its_healthcheck_asks_the_process(tmp_path: Path):
    """It is healthy while `/livez` answers, and not when nobody does."""
    command = json.loads(re.findall(r"HEALTHCHECK .*CMD (\[.*\])", FINAL)[0])
    with ThreadingHTTPServer(("127.0.0.1", 0), _Alive) as server:
        Thread(target=server.serve_forever).start()
        script = command[2].replace("8080", str(server.server_port))
        healthy = subprocess.run([sys.executable, "-c", script], check=False).returncode
        server.shutdown()
    gone = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=False
    ).returncode

    assert (healthy, gone) == (0, 1)


class _Alive(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/livez" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def _copied(folder: Path) -> Path:
    """The build's context, without what was built in it."""
    folder.mkdir()
    ignored = shutil.ignore_patterns("__pycache__", "*.so")
    for name in _context():
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, folder)
    return folder


def _context() -> set[str]:
    """What .dockerignore leaves of the repository's top."""
    rules = [
        line
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line and not line.startswith(("#", "**/"))
    ]
    left = set()
    for name in (path.name for path in ROOT.iterdir()):
        is_ignored = False
        for rule in rules:
            if fnmatch.fnmatch(name, rule.removeprefix("!")):
                is_ignored = not rule.startswith("!")
        if not is_ignored:
            left.add(name)
    return left


def _instruction(name: str) -> str:
    (found,) = re.findall(rf"^{name} (.+)$", FINAL, re.MULTILINE)
    return str(found)
