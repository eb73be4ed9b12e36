"""Programs of Debian's packages: those of PATH, or unpacked into build/deploy and never installed."""

import shutil
import subprocess
from pathlib import Path

from fetched import CACHE, bring, missing


def debian_program(package: str, path: str) -> Path:
    """path: of the program in the package, as usr/bin/promtool. Skips the test where there is none."""
    name = path.rpartition("/")[2]
    if found := shutil.which(name):
        return Path(found)
    unpacked = CACHE / package / path
    if not unpacked.exists():
        _unpack(package)
    return unpacked


def _unpack(package: str) -> None:
    if not shutil.which("apt-get"):
        missing(f"{package}: neither it nor apt-get is here")
    folder = CACHE / "debs"
    folder.mkdir(parents=True, exist_ok=True)
    bring(["apt-get", "download", "-q", package], package, cwd=folder)
    (file,) = folder.glob(f"{package}_*.deb")
    subprocess.run(["dpkg", "-x", str(file), str(CACHE / package)], check=True)
