"""What is installed where there is no compiler."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = ("engine", "gateway", "pyproject.toml", "README.md", "LICENSE")
NATIVE = "engine/kernels/cpu/_native.so"


def built(folder: Path, **environment: str) -> set[str]:
    """The files of a wheel built from a copy of the sources."""
    source = folder / "source"
    source.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.so")
            shutil.copytree(ROOT / name, source / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, source]
    subprocess.run(command, env=os.environ | environment, check=True)
    (wheel,) = folder.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


@pytest.mark.slow
def test_without_a_compiler_the_package_installs(tmp_path):
    """All of it but the native library."""
    files = built(tmp_path, CC="/bin/false", CXX="/bin/false")

    assert "engine/kernels/cpu/library.py" in files
    assert NATIVE not in files


@pytest.mark.slow
def test_with_a_compiler_the_library_is_in_the_package(tmp_path):
    """And none of its sources."""
    files = built(tmp_path)

    assert NATIVE in files
    assert not any(name.endswith((".cpp", ".inc", "CMakeLists.txt")) for name in files)
