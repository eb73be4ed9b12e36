import pytest

from engine.api import Device, HostMemory
from gateway.config import SettingsError, load_settings
from gateway.wiring import devices_of, host_memory_of


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


def test_each_worker_has_its_share_of_the_hosts_memory():
    """What is not said is left to the engine."""
    settings = load_settings(None, {"warm_memory": "1GiB"})

    assert host_memory_of(settings, 2) == HostMemory(warm_bytes=2**29, parked_bytes=None)
