"""Which devices models go to: what the settings name, found on this machine."""

import itertools
from collections.abc import Sequence

import msgspec

from engine.api import Device
from gateway.config import Settings, SettingsError
from gateway.gpus import Gpu
from gateway.units import DeviceBudget

GPU_SHARE = 0.92
"""Of a GPU's memory, what models may take less what others use: the rest is for its context, what is computed
with, and the libraries' own use."""


def devices_of(settings: Settings, gpus: Sequence[Gpu] = ()) -> list[Device]:
    """The devices that the settings name: GPUs by their numbers, CPUs by the order they are named in.

    gpus: those of this machine. Raises `SettingsError` for one that is not there, and where nothing
    says how much memory models may take.
    """
    budgets = settings.devices
    if not budgets:
        if settings.memory is None:
            raise SettingsError("memory: how many bytes models may take must be set")
        return [Device("cpu", settings.memory)]
    numbers = itertools.count()
    is_alone = sum(budget.kind == "cpu" for budget in budgets) == 1
    devices: list[Device] = []
    for budget in budgets:
        if budget.kind == "cpu":
            name = "cpu" if is_alone else f"cpu:{next(numbers)}"
            devices.append(Device(name, budget.memory_bytes or 0))
        else:
            devices += [_gpu(gpu, budget.memory_bytes) for gpu in _named_gpus(budget, gpus)]
    if len({device.name for device in devices}) < len(devices):
        raise SettingsError("devices: a GPU is named twice")
    return devices


def _named_gpus(budget: DeviceBudget, gpus: Sequence[Gpu]) -> list[Gpu]:
    which = budget.which
    found = [
        gpu for gpu in gpus if not which or which == str(gpu.index) or gpu.uuid.startswith(which)
    ]
    if not found or (len(found) > 1 and which and not which.isdecimal()):
        here = ", ".join(f"cuda:{gpu.index} ({gpu.name}, {gpu.uuid})" for gpu in gpus)
        raise SettingsError(
            f"devices: {budget!r} is none of the GPUs here: {here or 'there is none'}"
        )
    return found


def _gpu(gpu: Gpu, memory_bytes: int | None) -> Device:
    most = max(0, int(gpu.memory_bytes * GPU_SHARE) - (gpu.memory_bytes - gpu.free_bytes))
    return Device(f"cuda:{gpu.index}", min(memory_bytes or most, most), "cuda", gpu.uuid)


def with_devices(settings: Settings, gpus: Sequence[Gpu]) -> Settings:
    """Settings that name every device and what models may take of it, if any is a GPU.

    Where none is named, all GPUs are meant, with an equal part of `memory` each. Raises as `devices_of`.
    """
    if not settings.devices and gpus:
        share = "" if settings.memory is None else f":{settings.memory // len(gpus)}B"
        named = [DeviceBudget(f"cuda:{gpu.index}{share}") for gpu in gpus]
        settings = msgspec.structs.replace(settings, devices=named)
    if not names_gpus(settings):
        return settings
    known = [
        DeviceBudget(f"{device.name if device.uuid else device.kind}:{device.memory_bytes}B")
        for device in devices_of(settings, gpus)
    ]
    return msgspec.structs.replace(settings, devices=known)


def names_gpus(settings: Settings) -> bool:
    return any(budget.kind != "cpu" for budget in settings.devices)
