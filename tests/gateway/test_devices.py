from dataclasses import replace

import msgspec
import pytest

from engine.api import Device
from gateway.config import SettingsError, load_settings
from gateway.devices import GPU_SHARE, devices_of, with_devices
from gateway.gpus import Gpu
from gateway.units import DeviceBudget

GIB = 2**30
TWO = [
    Gpu(0, "GPU-8b4f0000-aaaa", "NVIDIA H100", 80 * GIB, 80 * GIB),
    Gpu(1, "GPU-8b4f0000-bbbb", "NVIDIA L4", 24 * GIB, 24 * GIB),
]
WHOLE = [int(gpu.memory_bytes * GPU_SHARE) for gpu in TWO]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"memory": 5}, [Device("cpu", 5)]),
        ({"memory": 5, "devices": ["cpu:7"]}, [Device("cpu", 7)]),
        ({"devices": ["cpu:7", "cpu:9"]}, [Device("cpu:0", 7), Device("cpu:1", 9)]),
    ],
)
def test_devices(given, expected):
    """One for `memory`, or those that are named: numbered unless there is one."""
    assert devices_of(load_settings(None, given)) == expected


def test_no_memory_is_no_default():
    """What models may take of a machine is not guessed here."""
    with pytest.raises(SettingsError, match="memory"):
        devices_of(load_settings(None, {}))


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        (["cuda"], [("cuda:0", WHOLE[0]), ("cuda:1", WHOLE[1])]),
        (["cuda:1"], [("cuda:1", WHOLE[1])]),
        (["cuda:GPU-8b4f0000-bbbb:4GiB"], [("cuda:1", 4 * GIB)]),
        (["cuda:1:8GiB", "cuda:0"], [("cuda:1", 8 * GIB), ("cuda:0", WHOLE[0])]),
        (["cuda:1:1TiB"], [("cuda:1", WHOLE[1])]),
        (["cuda:0:8GiB", "cpu:2GiB"], [("cuda:0", 8 * GIB), ("cpu", 2 * GIB)]),
    ],
)
def test_gpus_by_name(named, expected):
    """By number or UUID, with what models may take of each: never more than there is."""
    settings = load_settings(None, {"devices": named})

    found = devices_of(settings, TWO)

    assert [(device.name, device.memory_bytes) for device in found] == expected
    uuids = {f"cuda:{gpu.index}": gpu.uuid for gpu in TWO}
    assert all(device.uuid == uuids.get(device.name, "") for device in found)


@pytest.mark.parametrize(
    ("named", "message"),
    [
        (["cuda:2"], r"'cuda:2' is none of the GPUs here: cuda:0 \(NVIDIA H100, GPU-8b4f0000-aaaa"),
        (["cuda:GPU-8b4f"], "is none of the GPUs here"),
        (["cuda", "cuda:0"], "a GPU is named twice"),
    ],
)
def test_gpus_that_are_not_there(named, message):
    """Stop the start, and those that are there are named."""
    with pytest.raises(SettingsError, match=message):
        devices_of(load_settings(None, {"devices": named}), TWO)


def test_what_others_use_of_a_gpu_is_left_to_them():
    """Down to nothing."""
    shared = [replace(TWO[0], free_bytes=50 * GIB), replace(TWO[1], free_bytes=GIB)]
    settings = load_settings(None, {"devices": ["cuda"]})

    found = devices_of(settings, shared)

    assert [device.memory_bytes for device in found] == [WHOLE[0] - 30 * GIB, 0]


def test_without_gpus_none_can_be_named():
    with pytest.raises(SettingsError, match="none of the GPUs here: there is none"):
        devices_of(load_settings(None, {"devices": ["cuda"]}))


def test_all_gpus_are_used_unless_devices_are_named():
    """And `memory` is for all of them together."""
    said = with_devices(load_settings(None, {}), TWO)
    shared = with_devices(load_settings(None, {"memory": "20GiB"}), TWO)
    named = with_devices(load_settings(None, {"devices": ["cpu:2GiB"]}), TWO)

    assert [device.memory_bytes for device in devices_of(said, TWO)] == WHOLE
    assert [device.memory_bytes for device in devices_of(shared, TWO)] == [10 * GIB, 10 * GIB]
    assert named.devices == ["cpu:2GiB"]


def test_what_is_found_is_written_out():
    """So that everybody who reads the settings sees the same devices and their sum."""
    settings = with_devices(load_settings(None, {"devices": ["cuda", "cpu:2GiB"]}), TWO)

    assert settings.total_memory == sum(WHOLE) + 2 * GIB
    assert devices_of(settings, TWO)[:2] == devices_of(
        msgspec.structs.replace(settings, devices=[DeviceBudget("cuda")]), TWO
    )


def test_no_gpu_changes_nothing():
    settings = load_settings(None, {"memory": "1GiB"})

    assert with_devices(settings, []) == settings
