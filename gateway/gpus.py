"""Which GPUs are here, by NVML: without torch, and without a context on any of them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pynvml

VISIBLE = "CUDA_VISIBLE_DEVICES"

_BUILT_FOR = re.compile(r"^(?:cuda|hip)\b[^=]*=\s*['\"]", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Gpu:
    """index: among those that this process may use, as torch numbers them.

    free_bytes: of its memory, what nobody used when it was asked.
    """

    index: int
    uuid: str
    name: str
    memory_bytes: int
    free_bytes: int


def gpus_here(environment: Mapping[str, str], nvml: Any = pynvml) -> list[Gpu]:
    """Those that $CUDA_VISIBLE_DEVICES allows, in its order; none where there is no driver."""
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return []
    try:
        handles = [nvml.nvmlDeviceGetHandleByIndex(n) for n in range(nvml.nvmlDeviceGetCount())]
        uuids = [_text(nvml.nvmlDeviceGetUUID(handle)) for handle in handles]
        return [
            _gpu(nvml, index, uuids[at], handles[at])
            for index, at in enumerate(visible(uuids, environment.get(VISIBLE)))
        ]
    except nvml.NVMLError:  # lost meanwhile, or not ours to ask
        return []
    finally:
        nvml.nvmlShutdown()


def visible(uuids: Sequence[str], allowed: str | None) -> list[int]:
    """Places of the GPUs that CUDA would show; as it does, it stops at the first that is none.

    allowed: numbers, or beginnings of UUIDs, with commas between; None allows all.
    """
    if allowed is None:
        return list(range(len(uuids)))
    found: list[int] = []
    for entry in (part.strip() for part in allowed.split(",")):
        if entry.isdecimal():
            places = [int(entry)] if int(entry) < len(uuids) else []
        else:
            places = [n for n, uuid in enumerate(uuids) if entry and uuid.startswith(entry)]
        if len(places) != 1 or places[0] in found:
            break
        found += places
    return found


def torch_has_gpus(version_file: Path | None = None) -> bool:
    """Whether the installed torch was built for GPUs: read, since to import it takes seconds."""
    spec = find_spec("torch") if version_file is None else None
    if spec is not None and spec.origin is not None:
        version_file = Path(spec.origin).with_name("version.py")
    try:
        return version_file is not None and bool(_BUILT_FOR.search(version_file.read_text()))
    except OSError:
        return False


def _gpu(nvml: Any, index: int, uuid: str, handle: Any) -> Gpu:
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    return Gpu(index, uuid, _text(nvml.nvmlDeviceGetName(handle)), memory.total, memory.free)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
