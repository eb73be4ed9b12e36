"""Inputs on their way to a device that is late, and what comes back."""

import torch

from engine.core.staging import Returns, Staging
from fake_device import FakeDevice


def test_what_was_sent_is_what_arrives_however_late():
    """Memory that a copy still reads is not written; rooms grow as batches do."""
    device = FakeDevice(late_compute=True)
    staging = Staging(device)
    targets = [torch.zeros(size, dtype=torch.int64) for size in (3, 5, 20_000, 4, 9)]
    with device.compute_stream() as stream:
        for number, target in enumerate(targets, start=1):
            staging.send(target, lambda host, number=number: host.fill_(number))
        stream.synchronise()

    assert [set(target.tolist()) for target in targets] == [{1}, {2}, {3}, {4}, {5}]


def test_nothing_is_read_before_it_has_come():
    """The two fetched last hold; the source may change as soon as its copy was issued in order."""
    device = FakeDevice(late_compute=True)
    returns = Returns(device, 8)
    with device.compute_stream():
        first = returns.fetch(torch.tensor([1, 2]))
        second = returns.fetch(torch.tensor([3]))

        assert (first.values(), second.values()) == ([1, 2], [3])
