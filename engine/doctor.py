"""`python -m engine.doctor`: what this machine offers the engine, as JSON, and what it lacks."""

import json
import platform
import sys
from importlib.metadata import version

import msgspec
import torch

from engine.core.device import compute_dtype, num_threads
from engine.kernels.cpu.library import NativeMissing, isa, library
from engine.kernels.triton.install import is_available

_SLOWER = {
    "portable": "this CPU lacks the instructions that the kernels are made for",
    "avx2": "AVX-512 with VNNI is several times faster",
}
"""What is missing, by the code path in use."""


class Finding(msgspec.Struct, frozen=True):
    """One thing looked at. lost: what is missing because of it, nothing where all is well."""

    name: str
    value: str
    lost: str = ""


def examine() -> list[Finding]:
    """Everything that is looked at, in the order in which it is worth reading."""
    return [
        Finding("python", platform.python_version()),
        Finding("torch", torch.__version__),
        Finding("cpu threads", str(num_threads())),
        native(),
        *([kernels_on_gpus()] if torch.cuda.is_available() else []),
        Finding("computes in", str(compute_dtype("auto")).removeprefix("torch.")),
    ]


def native() -> Finding:
    """Whether the native kernels are there, and for which instruction set."""
    try:
        library()
    except NativeMissing as error:
        lost = "every model runs in plain torch: several times slower, and larger in memory"
        return Finding("native kernels", str(error), lost)
    found = isa()
    return Finding("native kernels", found, _SLOWER.get(found, ""))


def kernels_on_gpus() -> Finding:
    """Whether there is a Triton, which compiles the kernels for GPUs."""
    if is_available():
        return Finding("gpu kernels", f"Triton {version('triton')}")
    lost = "models on a GPU run in plain torch: several times slower"
    return Finding("gpu kernels", "no Triton", lost)


if __name__ == "__main__":
    sys.stdout.write(json.dumps([msgspec.structs.asdict(each) for each in examine()]))
