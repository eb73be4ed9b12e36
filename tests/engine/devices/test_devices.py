"""Which devices there are, by name; and that the one for tests is as late as a real one may be."""

import pytest
import torch

from engine.devices import (
    DeviceLost,
    DeviceNotFound,
    OutOfDeviceMemory,
    accelerator,
    is_accelerator,
)
from tests.support.fake_device import FakeDevice


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:GPU-0000"])
def test_a_gpu_that_is_not_here_is_named(name):
    """It is no crash of torch."""
    assert is_accelerator(name)
    with pytest.raises(DeviceNotFound, match="no GPU"):
        accelerator(name)


@pytest.mark.parametrize("name", ["cpu", "cpu:1", "tpu:0", ""])
def test_other_names_are_none(name):
    """A CPU is no accelerator."""
    assert not is_accelerator(name)
    with pytest.raises(DeviceNotFound, match=r"cuda:<which>"):
        accelerator(name)


def test_a_copy_is_late_until_somebody_waits():
    """Host and other streams see what was there before."""
    device = FakeDevice()
    target, source = torch.zeros(4, dtype=torch.uint8), torch.ones(4, dtype=torch.uint8)
    with device.copy_stream() as copies:
        device.copy(target, source)
        event = copies.record()
    assert target.sum() == 0

    device.compute_stream().wait(event)
    assert target.sum() == 4


def test_a_source_that_is_changed_too_early_shows():
    """A copy reads when it runs, not when it is issued."""
    device = FakeDevice()
    target, source = torch.zeros(4, dtype=torch.uint8), torch.ones(4, dtype=torch.uint8)
    with device.copy_stream() as copies:
        device.copy(target, source)
        source.fill_(7)
        copies.synchronise()

    assert target.tolist() == [7] * 4


def test_streams_wait_for_each_other():
    """Each keeps its own order; what is behind an event is not done for it."""
    device = FakeDevice(late_compute=True)
    a, b, c = (torch.full((1,), value, dtype=torch.uint8) for value in (1, 2, 3))
    with device.compute_stream() as compute:
        device.copy(b, a)
        event = compute.record()
        device.copy(a, c)
    with device.copy_stream() as copies:
        copies.wait(event)
        device.copy(c, b)
        copies.synchronise()

    assert (a.item(), b.item(), c.item()) == (1, 1, 1)


def test_failures_happen_where_they_are_told_to():
    """Each allocation and copy by its number; a lost device fails at everything."""
    device = FakeDevice(fails_at_allocation=1, fails_at_copy=0)
    device.allocate(10)
    with pytest.raises(OutOfDeviceMemory):
        device.allocate(10)
    device.allocate(10)
    with pytest.raises(RuntimeError, match="invalid argument"):
        device.copy(torch.zeros(1), torch.zeros(1))

    device.lose()
    with pytest.raises(DeviceLost):
        device.allocate(10)
