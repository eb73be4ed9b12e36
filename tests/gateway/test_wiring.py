import pytest

from engine.api import Device, HostMemory
from gateway.config import SettingsError, load_settings
from gateway.wiring import check_devices, host_memory_of, limits_of, make_store
from tests.gateway.fakes import FakeEngine


def test_each_worker_has_its_share_of_the_hosts_memory():
    """What is not said is left to the engine."""
    settings = load_settings(None, {"warm_memory": "1GiB"})

    assert host_memory_of(settings, 2) == HostMemory(warm_bytes=2**29, parked_bytes=None)


def test_a_store_that_cannot_be_opened_stops_the_start(tmp_path):
    """The setting is named, and the file."""
    settings = load_settings(None, {"store": {"path": str(tmp_path), "keep": "1h"}})

    with pytest.raises(SettingsError, match=rf"store.*path.*{tmp_path.name}"):
        make_store(settings.store)


TWO = [Device("cpu:0", 5), Device("cpu:1", 5)]


FOUR = [Device("cpu", 5), *(Device(f"cuda:{n}", 5, "cuda") for n in range(3))]


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([["cpu", "cuda:0"]], "cpu, cuda:0 are devices of several kinds"),
        ([["cuda:0", "cuda:1"], ["cuda:1", "cuda:2"]], "have to begin with the same one"),
        ([["cuda:0", "cuda:1"], ["cuda:0", "cuda:2"]], None),
        ([["cuda:0", "cuda:1"], ["cuda:2", "cuda:1"]], "have to begin with the same one"),
    ],
)
def test_groups_that_could_wait_for_each_other_stop_the_start(groups, message):
    """What shares a GPU has one that says who comes first."""
    settings = load_settings(None, {"tensor_parallel": groups})
    engine = FakeEngine(devices=FOUR, can_spread=True)
    if message is None:
        check_devices(settings, engine)
    else:
        with pytest.raises(SettingsError, match=message):
            check_devices(settings, engine)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tensor_parallel": [["cpu:0", "cpu:9"]]}, "tensor_parallel: 'cpu:9' is not one of"),
        ({"tensor_parallel": [["cpu:0", "cpu:0"]]}, "named twice"),
        ({"model": {"m": {"devices": ["cpu:9"]}}}, "devices: 'cpu:9' is not one of cpu:0, cpu:1"),
        ({"model": {"m": {"tensor_parallel": 2}}}, "no 2 devices may hold it"),
    ],
)
def test_devices_that_lead_nowhere_stop_the_start(given, message):
    """Devices do not come later, so what names others is a mistake."""
    with pytest.raises(SettingsError, match=message):
        check_devices(load_settings(None, given), FakeEngine(devices=TWO))


@pytest.mark.parametrize(
    "given",
    [
        {"tensor_parallel": [["cpu:0", "cpu:1"]]},
        {"model": {"m": {"tensor_parallel": 2, "devices": ["cpu:1", "cpu:0"]}}},
    ],
)
def test_spreading_needs_an_engine_that_can(given):
    """It is refused at the start, rather than at each load."""
    settings = load_settings(None, given)

    check_devices(settings, FakeEngine(devices=TWO))
    with pytest.raises(SettingsError, match="cannot be spread over devices yet"):
        check_devices(settings, FakeEngine(devices=TWO, can_spread=False))


def test_groups_of_devices_reach_the_pool():
    """As they are written."""
    settings = load_settings(None, {"tensor_parallel": [["cpu:0", "cpu:1"]]})

    assert limits_of(settings).tensor_parallel == (("cpu:0", "cpu:1"),)
