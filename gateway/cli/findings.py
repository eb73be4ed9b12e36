"""What `roundhouse doctor` looks at around the engine: memory, cores, disk, port, models, clock."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.cli.disk import free_bytes, image_folder
from gateway.cli.tables import num_bytes
from gateway.config import Settings
from gateway.gpus import Gpu

LEAST_FREE_BYTES = 2 * 2**30
LEAST_MEMORY_BYTES = 2**30
RELEASED = 1_790_000_000
"""Seconds since 1970, of a time when this was written: no right clock is behind it."""

_CPU_LIMIT = Path("/sys/fs/cgroup/cpu.max")
_MEMORY_INFO = Path("/proc/meminfo")


@dataclass(frozen=True, slots=True)
class Finding:
    """lost: what is missing because of it. wrong: why nothing can be served. mend: what to do."""

    name: str
    value: str
    lost: str = ""
    wrong: str = ""
    mend: str = ""


def memory(budget_bytes: int, available_bytes: int | None) -> Finding:
    """budget_bytes: that models may take. available_bytes: that nobody uses now, if it is known."""
    value = f"{num_bytes(budget_bytes)} for models"
    if available_bytes is not None:
        value += f", {num_bytes(available_bytes)} free now"
    mend = "give the machine or the container more, or set memory to what there is"
    if budget_bytes < LEAST_MEMORY_BYTES:
        return Finding("memory", value, lost="only the smallest models fit", mend=mend)
    if available_bytes is not None and available_bytes < budget_bytes:
        return Finding("memory", value, lost="the system may have to swap", mend=mend)
    return Finding("memory", value)


def gpus(found: Sequence[Gpu], *, torch_has_them: bool) -> Finding:
    """torch_has_them: whether the installed torch was built for GPUs."""
    if not found:
        return Finding("gpus", "none")
    value = ", ".join(f"{gpu.name}, {num_bytes(gpu.memory_bytes)}" for gpu in found)
    if torch_has_them:
        return Finding("gpus", value)
    mend = "install a torch that was built for CUDA (or ROCm) in the place of this one"
    return Finding("gpus", value, "not used: the installed torch is for CPUs alone", mend=mend)


def cores(threads: int | None, limit: float | None) -> Finding:
    """threads: as set; unset, the engine heeds the limit by itself.

    limit: cores' worth of time that the container has; None is no limit.
    """
    if limit is None:
        return Finding("cpu limit", "none")
    value = f"{limit:g} cores"
    if threads is None or threads <= max(1, limit):
        return Finding("cpu limit", value)
    lost = f"{threads} threads share the time of {limit:g} cores and wait for each other"
    return Finding(
        "cpu limit", value, lost, mend=f"roundhouse serve --threads {max(1, int(limit))}"
    )


def models_folder(settings: Settings) -> Finding:
    folder, stores = settings.models_dir, settings.discovery.stores
    if not folder.is_dir() and not stores:
        mend = f"roundhouse demo {folder}, roundhouse pull ORG/NAME, or serve --stores auto"
        return Finding("models folder", str(folder), wrong="it is not there", mend=mend)
    return Finding("models folder", ", ".join([str(folder), *stores]))


def disk(name: str, folder: Path, free: int | None) -> Finding:
    if free is None:
        return Finding(name, f"{folder}: unknown")
    value = f"{num_bytes(free)} free in {folder}"
    if free >= LEAST_FREE_BYTES:
        return Finding(name, value)
    mend = "roundhouse du tells what takes room, roundhouse rm gives it back"
    return Finding(
        name, value, lost="new models, or images of their weights, may not fit", mend=mend
    )


def port(settings: Settings, answer: Mapping[str, object] | None, *, is_taken: bool) -> Finding:
    """answer: of `/readyz`, if it is ours who has the port."""
    place = f"{settings.host}:{settings.port}"
    if answer is not None:
        return Finding("port", f"{place}: a Roundhouse server answers")
    if not is_taken:
        return Finding("port", f"{place}: free")
    return Finding(
        "port", place, wrong="another program has it", mend="roundhouse serve --port another"
    )


def failures(answer: Mapping[str, object] | None) -> Iterator[Finding]:
    """Models that the running server cannot serve."""
    failed = (answer or {}).get("failures")
    for name, reason in failed.items() if isinstance(failed, dict) else ():
        mend = "roundhouse families lists what can be served; a broken file is pulled again"
        yield Finding(f"model {name}", str(reason), lost="it cannot be served", mend=mend)


def clock(now: float) -> Finding:
    """now: seconds since 1970."""
    value = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(now))
    if now >= RELEASED:
        return Finding("clock", value)
    lost = "certificates are refused, and keys expire at the wrong time"
    return Finding("clock", value, lost, mend="set it, or have it set: timedatectl set-ntp true")


def available_bytes() -> int | None:
    """Of this machine's memory; None where it does not say."""
    try:
        for line in _MEMORY_INFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return None


def cpu_limit(file: Path = _CPU_LIMIT) -> float | None:
    """Cores' worth of time that the container has (cgroup v2); None is no limit."""
    try:
        quota, period = file.read_text().split()
        return int(quota) / int(period)
    except (OSError, ValueError):  # "max" means none
        return None


def disks(settings: Settings) -> Iterator[Finding]:
    yield disk("models' disk", settings.models_dir, free_bytes(settings.models_dir))
    if images := image_folder(settings.image_cache):
        yield disk("images' disk", images, free_bytes(images))
