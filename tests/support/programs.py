"""Clients of others in environments of their own: their dependencies need not agree with ours.

`ROUNDHOUSE_CLIENTS` names the folder that keeps them (build/clients), so that the second run installs nothing;
`PIP_ARGS` are options for pip.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from gateway_process import ROOT

HERE = ROOT / "tests/clients"
INSTALLED = Path(os.environ.get("ROUNDHOUSE_CLIENTS", ROOT / "build/clients"))
RUN_SECONDS = 300


def python_environment(name: str) -> Path:
    """A virtual environment's programs, with what requirements/`name`.txt pins."""
    wanted = HERE / f"requirements/{name}.txt"
    folder = INSTALLED / name
    if not _is_installed(folder, wanted):
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        options = ["-q", "--disable-pip-version-check", *shlex.split(os.getenv("PIP_ARGS", ""))]
        pip = [folder / "bin/python", "-m", "pip", "install"]
        subprocess.run([*pip, *options, "-r", wanted], check=True)
        shutil.copy(wanted, folder / wanted.name)
    return folder / "bin"


def npm_environment(name: str) -> Path:
    """A folder with the node_modules that `name`/package-lock.json pins. Node.js itself is brought too."""
    wanted = HERE / name / "package-lock.json"
    folder = INSTALLED / f"npm-{name}"
    if not _is_installed(folder / "node_modules", wanted):
        shutil.copytree(HERE / name, folder, dirs_exist_ok=True)
        subprocess.run(
            [node() / "npm", "ci", "--no-audit", "--no-fund"],
            cwd=folder,
            env=_with_node(),
            check=True,
        )
        shutil.copy(wanted, folder / "node_modules" / wanted.name)
    return folder


def node() -> Path:
    """The folder of `node` and `npm`."""
    return python_environment("node")


def run_example(script: str, environment: str, *arguments: str) -> dict[str, Any]:
    """What an example printed: a JSON object. Raises AssertionError with its stderr where it failed."""
    path = HERE / "examples" / script
    if path.suffix == ".py":
        return json.loads(run([python_environment(environment) / "python", path, *arguments]))
    folder = npm_environment(environment)
    path = shutil.copy(path, folder)  # modules are looked for beside the file that imports them
    return json.loads(run([node() / "node", path, *arguments]))


def run(command: list[str | Path], *, may_fail: bool = False, **environment: str) -> str:
    """The standard output of a program that knows nothing of this machine's own settings."""
    ran = subprocess.run(
        command,
        env=_with_node() | environment,
        cwd=environment.get("HOME", INSTALLED),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    assert may_fail or ran.returncode == 0, f"{ran.stdout[-2000:]}\n{ran.stderr[-4000:]}"
    return ran.stdout


def _with_node() -> dict[str, str]:
    kept = {
        k: v for k, v in os.environ.items() if not k.startswith(("OPENAI_", "ANTHROPIC_", "PYTHON"))
    }
    return kept | {"PATH": f"{INSTALLED / 'node/bin'}:{os.environ['PATH']}"}


def _is_installed(folder: Path, wanted: Path) -> bool:
    """Whether the last install there was of exactly this, and went well."""
    done = folder / wanted.name
    return done.exists() and done.read_bytes() == wanted.read_bytes()
