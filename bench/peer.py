"""Finds llama.cpp, or builds it from the sdist of llama-cpp-python into an ignored folder.

$LLAMA_CPP names a folder that holds the tools, and comes first. `python bench/peer.py` builds them
if there are none (about ten minutes on two cores; needs cmake, ninja and a C++ compiler).
"""

import argparse
import os
import subprocess
import sys
import tarfile
from pathlib import Path

from folders import PEER

VERSION = "0.3.36"
TOOLS = ("llama-bench", "llama-batched-bench", "llama-quantize", "llama-server")

_OPTIONS = {
    "CMAKE_BUILD_TYPE": "Release",
    "GGML_NATIVE": "ON",
    "LLAMA_OPENSSL": "OFF",
    "LLAMA_BUILD_UI": "OFF",
    "LLAMA_USE_PREBUILT_UI": "OFF",
    "LLAMA_BUILD_TESTS": "OFF",
    "LLAMA_BUILD_EXAMPLES": "OFF",
    "LLAMA_BUILD_APP": "OFF",
}


def tool(name: str) -> Path:
    """Path of one of `TOOLS`. Exits where there is none: building takes minutes, so one asks."""
    found = _folder() / name
    if not found.is_file():
        raise SystemExit(f"no {name} in {found.parent}: 'make bench-peer' builds it")
    return found


def build() -> Path:
    """Builds what is missing and gives the folder of the tools. Blocks for minutes."""
    folder = _folder()
    if all((folder / name).is_file() for name in TOOLS):
        return folder
    if "LLAMA_CPP" in os.environ:
        raise SystemExit(f"$LLAMA_CPP is {folder}, which lacks some of {', '.join(TOOLS)}")
    source = _source()
    options = [f"-D{key}={value}" for key, value in _OPTIONS.items()]
    _run("cmake", "-G", "Ninja", "-S", source, "-B", PEER / "build", *options)
    _run("cmake", "--build", PEER / "build", "--target", *TOOLS)
    return folder


def _folder() -> Path:
    return Path(os.environ.get("LLAMA_CPP", PEER / "build/bin"))


def _source() -> Path:
    """llama.cpp as the sdist ships it."""
    unpacked = PEER / f"llama_cpp_python-{VERSION}"
    source = unpacked / "vendor/llama.cpp"
    if not source.is_dir():
        with tarfile.open(_download()) as archive:
            archive.extractall(PEER, filter="data")
    # A submodule's pointer to a repository that is not there: ninja would configure for ever.
    (source / ".git").unlink(missing_ok=True)
    return source


def _download() -> Path:
    """The sdist. Only it comes as source: its build tools, asked for by pip, come as wheels."""
    wanted = f"llama-cpp-python=={VERSION}"
    options = ["--no-deps", "--no-binary", "llama-cpp-python", "--dest", PEER]
    _run(sys.executable, "-m", "pip", "download", *options, wanted)
    return PEER / f"llama_cpp_python-{VERSION}.tar.gz"


def _run(*command: str | Path) -> None:
    PEER.mkdir(exist_ok=True)
    print("+", *command, flush=True)
    subprocess.run(command, check=True)


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    print(build())


if __name__ == "__main__":
    main()
