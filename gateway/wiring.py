"""Settings as the engine and the pool want them."""

import itertools
import os
import time
from collections.abc import Mapping
from pathlib import Path

from engine.api import Engine, HostMemory
from gateway.catalog.catalog import Catalog
from gateway.config import ModelSettings, Settings, SettingsError, StoreSettings
from gateway.keys import Gate, Keyring, KeysError
from gateway.keys.keeper import Keeper
from gateway.keys.keyring import VARIABLE, database_path
from gateway.pool import Group, Place, PoolLimits, Terms, places_for
from gateway.store import MEMORY, ResponseStore, StoreError


def check_devices(settings: Settings, engine: Engine) -> None:
    """Devices come and go only with a start, so a name that leads to none is a mistake."""
    check_device_names(settings, [device.name for device in engine.devices])
    _check_groups(settings, {device.name: device.kind for device in engine.devices})
    sizes = [model.tensor_parallel or 1 for model in settings.model.values()]
    if not engine.can_spread and (settings.tensor_parallel or max(sizes, default=1) > 1):
        raise SettingsError(
            "tensor_parallel: a model cannot be spread over devices yet; each has to fit on one"
        )


def check_device_names(settings: Settings, known: list[str]) -> None:
    """Raises `SettingsError` for one that is not among the known, and for too few of them."""
    for group in settings.tensor_parallel:
        _check_names("tensor_parallel", group, known)
    for name, model in settings.model.items():
        _check_names(f"[model.{name!r}]: devices", model.devices, known)
        _check_spread(name, model, settings, known)


def _check_groups(settings: Settings, kinds: Mapping[str, str]) -> None:
    """Raises `SettingsError` for groups whose devices cannot work together, or not beside each other."""
    spread = [
        model.devices for model in settings.model.values() if (model.tensor_parallel or 1) > 1
    ]
    groups = [*settings.tensor_parallel, *spread]
    for group in groups:
        if len({kinds[name] for name in group}) > 1:
            raise SettingsError(f"tensor_parallel: {', '.join(group)} are devices of several kinds")
    # GPUs work off what they are given in order: in circles, each would wait for the next for ever
    for one, other in itertools.combinations([each for each in groups if each], 2):
        is_gpu = kinds[one[0]] != "cpu"
        if is_gpu and set(one) & set(other) and one[0] != other[0]:
            raise SettingsError(
                f"tensor_parallel: {', '.join(one)} and {', '.join(other)} share a device, so both "
                f"have to begin with the same one"
            )


def _check_names(setting: str, names: list[str], known: list[str]) -> None:
    for name in names:
        if name not in known:
            raise SettingsError(f"{setting}: {name!r} is not one of {', '.join(known)}")
    if len(set(names)) < len(names):
        raise SettingsError(f"{setting}: a device is named twice")


def _check_spread(name: str, model: ModelSettings, settings: Settings, known: list[str]) -> None:
    terms = Terms(devices=tuple(model.devices), tensor_parallel=model.tensor_parallel)
    if not places_for(known, spreads_of(settings), terms):
        raise SettingsError(
            f"[model.{name!r}]: tensor_parallel: no {model.tensor_parallel} devices may hold it "
            "together: name as many in its `devices`, or a group of them in `tensor_parallel`"
        )


def spreads_of(settings: Settings) -> tuple[Place, ...]:
    """The groups of devices that may hold a model together."""
    return tuple(tuple(group) for group in settings.tensor_parallel)


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


def mentioned_in(settings: Settings) -> list[str]:
    """Names of models that groups speak of."""
    return [name for group in settings.groups for name in group.models]


def make_store(settings: StoreSettings) -> ResponseStore:
    """Raises `SettingsError` for a file that cannot be used."""
    path = MEMORY if settings.path == "memory" else str(Path(settings.path).expanduser())
    try:
        return ResponseStore(path, settings.keep, settings.max_bytes)
    except StoreError as error:
        raise SettingsError(f"[store]: path: {error}") from None


def make_gate(settings: Settings) -> Gate:
    """Raises `SettingsError` for keys that cannot be read, and where nobody could ask for anything."""
    keyring = keyring_of(settings)
    try:
        keeper = Keeper(database_path(settings.keys), time.time)
    except KeysError as error:
        raise SettingsError(f"[keys]: {error}") from None
    check_reachable(settings, keyring)
    return Gate(settings, keyring, keeper)


def keyring_of(settings: Settings) -> Keyring:
    """Raises `SettingsError` for keys that cannot be read."""
    try:
        return Keyring(settings.keys, os.environ.get(VARIABLE), time.monotonic)
    except KeysError as error:
        raise SettingsError(f"[keys]: {error}") from None


def check_reachable(settings: Settings, keyring: Keyring) -> None:
    """Raises `SettingsError` where others can reach the server and nobody said who may use it."""
    if not settings.is_loopback and settings.keys.anonymous is None and not keyring.keys:
        raise SettingsError(
            f"host {settings.host}: others can reach this server, so who may use it must be said: make "
            f"a key with 'roundhouse key create --name NAME', or name [keys] file, or let everybody use "
            f'its models with [keys] anonymous = ["infer"]'
        )


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
        tensor_parallel=spreads_of(settings),
    )
