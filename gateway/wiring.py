"""Settings as the engine and the pool want them."""

import itertools
from collections import defaultdict
from collections.abc import Iterator

from engine.api import Device, Engine, HostMemory
from gateway.catalog.catalog import Catalog
from gateway.config import Settings, SettingsError
from gateway.pool import Group, PoolLimits


def check_devices(settings: Settings, engine: Engine) -> None:
    """Devices come and go only with a start, so a name that leads to none is a mistake."""
    known = [device.name for device in engine.devices]
    for name, model in settings.model.items():
        for device in model.devices:
            if device not in known:
                raise SettingsError(
                    f"[model.{name!r}]: devices: {device!r} is not one of {', '.join(known)}"
                )


def devices_of(settings: Settings) -> list[Device]:
    """The devices that the settings name, numbered by kind where there are several.

    Raises `SettingsError` where nothing says how much memory models may take.
    """
    budgets = settings.devices
    if not budgets:
        if settings.memory is None:
            raise SettingsError("memory: how many bytes models may take must be set")
        return [Device("cpu", settings.memory)]
    if len(budgets) == 1:
        return [Device(budgets[0].kind, budgets[0].memory_bytes)]
    numbers: dict[str, Iterator[int]] = defaultdict(itertools.count)
    return [Device(f"{b.kind}:{next(numbers[b.kind])}", b.memory_bytes) for b in budgets]


def host_memory_of(settings: Settings, num_devices: int) -> HostMemory:
    """The same share for each worker: none can know what the others do with theirs."""

    def share(num_bytes: int | None) -> int | None:
        return None if num_bytes is None else num_bytes // num_devices

    return HostMemory(share(settings.warm_memory), share(settings.parked_memory))


def groups_of(settings: Settings, catalog: Catalog) -> list[Group]:
    """The groups by ids; names of models that are not there wait for them."""
    return [
        Group(
            group.name,
            frozenset(found for name in group.models if (found := catalog.id_of(name))),
            at_most=group.at_most,
            is_alone=group.alone,
        )
        for group in settings.groups
    ]


def limits_of(settings: Settings) -> PoolLimits:
    return PoolLimits(
        max_wait_seconds=settings.max_wait_seconds,
        wait_timeout_seconds=settings.limits.wait_timeout_seconds,
        max_waiting=settings.limits.queue_total,
        max_waiting_per_model=settings.limits.queue_per_model,
        max_context=settings.max_context,
        pausing=settings.pool.pausing,
        drain_seconds=settings.pool.drain_seconds,
        min_dwell_seconds=settings.pool.min_dwell_seconds,
        dwell_factor=settings.pool.dwell_factor,
        victims=settings.pool.victims,
    )
