"""Every kernel compiles for the GPUs that we know, without spilling and with wide loads.

`builds_*.py` beside this file say which; all of them are compiled by `make triton`, a few by every run.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TOOL = HERE.parents[2] / "support" / "offline_builds.py"
FILES = sorted(HERE.glob("builds_*.py"))

pytest.importorskip("triton", reason="Triton is for Linux alone")


def compile_builds(path: Path, *names: str) -> None:
    environment = {**os.environ, "TRITON_INTERPRET": "0"}
    command = [sys.executable, str(TOOL), str(path), *names]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]


@pytest.mark.parametrize("name", ["builds_attention", "builds_matrices"])
def test_what_is_quick_compiles(name):
    """What every model needs."""
    compile_builds(HERE / f"{name}.py", "quick")


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_everything_compiles(path):
    compile_builds(path)
