"""What this machine's CPU has to offer."""

import os
from pathlib import Path

import torch

from engine.api import DType
from engine.kernels.cpu.library import is_available

_BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}


def compute_dtype(
    name: DType, cpuinfo: Path = Path("/proc/cpuinfo"), native: bool | None = None
) -> torch.dtype:
    """The dtype of that name; auto is bfloat16 where that is fast, else float32.

    It is fast where native kernels run the models, if there are any unless `native` says, or where
    the CPU multiplies it.
    """
    if name == "auto":
        has_native = is_available() if native is None else native
        is_fast = has_native or _BFLOAT16_FLAGS & _flags(cpuinfo)
        return torch.bfloat16 if is_fast else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]


def device_dtype(name: DType) -> torch.dtype:
    """The same, of a GPU: auto is bfloat16."""
    return torch.float32 if name == "float32" else torch.bfloat16


def num_threads(
    topology: Path = Path("/sys/devices/system/cpu"), quota: Path = Path("/sys/fs/cgroup/cpu.max")
) -> int:
    """Physical cores that this process may use; a second thread on a core only adds waiting."""
    cores = {_core(topology / f"cpu{cpu}" / "topology", cpu) for cpu in os.sched_getaffinity(0)}
    return max(1, min(len(cores), _quota_cores(quota)))


def _flags(cpuinfo: Path) -> set[str]:
    for line in _read(cpuinfo).splitlines():
        if line.startswith("flags"):
            return set(line.partition(":")[2].split())
    return set()


def _core(topology: Path, cpu: int) -> str:
    """A name that the hyper-threads of one core have in common."""
    return _read(topology / "thread_siblings_list") or str(cpu)


def _quota_cores(quota: Path) -> int:
    """Whole CPUs that the container may use: the file says "max 100000" or "150000 100000"."""
    allowed, _, period = _read(quota).partition(" ")
    return int(allowed) // int(period) if allowed.isdecimal() else os.cpu_count() or 1


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
