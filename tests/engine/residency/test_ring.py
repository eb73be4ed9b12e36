"""Copies by way of a few pinned chunks: whole, in order, and none of them overtaken."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.residency.loader import LoadCancelled
from engine.residency.ring import PinnedRing
from tests.support.fake_device import FakeDevice

sizes = st.lists(st.integers(0, 40), max_size=20)


def some(size: int, seed: int) -> torch.Tensor:
    return torch.randint(256, (size,), dtype=torch.uint8, generator=torch.manual_seed(seed))


def ring_of(seed: int = 0) -> tuple[PinnedRing, FakeDevice]:
    device = FakeDevice(seed=seed)
    return PinnedRing(device, chunk_bytes=16, num_chunks=2), device


@settings(max_examples=30, deadline=None)
@given(sizes, st.integers(0, 5))
def test_what_is_uploaded_arrives(sizes, seed):
    """Though chunks are used again and again; behind the event that is given."""
    ring, device = ring_of(seed)
    for _ in range(2):
        sources = [some(size, number) for number, size in enumerate(sizes)]
        targets = [torch.zeros(size, dtype=torch.uint8) for size in sizes]
        event = ring.upload(zip(targets, sources, strict=True))
        kept = [source.clone() for source in sources]
        for source in sources:
            source.zero_()  # it has been read

        device.compute_stream().wait(event)
        assert all(map(torch.equal, targets, kept))


@settings(max_examples=30, deadline=None)
@given(sizes)
def test_what_is_downloaded_is_there(sizes):
    """At once, in host memory."""
    ring, _ = ring_of()
    for _ in range(2):
        sources = [some(size, number) for number, size in enumerate(sizes)]
        targets = [torch.zeros(size, dtype=torch.uint8) for size in sizes]
        ring.download(zip(targets, sources, strict=True))

        assert all(map(torch.equal, targets, sources))


def test_a_cancelled_upload_ends_early_and_spoils_nothing():
    """The next one finds chunks that nobody reads any more."""
    ring, device = ring_of()
    asked = iter([False] * 3 + [True])
    with pytest.raises(LoadCancelled):
        ring.upload([(torch.zeros(200, dtype=torch.uint8), some(200, 0))], lambda: next(asked))

    target = torch.zeros(60, dtype=torch.uint8)
    ring.upload([(target, some(60, 1))]).wait()
    device.copy_stream().synchronise()
    assert torch.equal(target, some(60, 1))


def test_a_download_that_failed_writes_nothing_any_more():
    """Whoever wanted it has other plans for the memory."""
    device = FakeDevice(fails_at_copy=1)
    ring = PinnedRing(device, chunk_bytes=16, num_chunks=2)
    back = torch.zeros(32, dtype=torch.uint8)
    with pytest.raises(RuntimeError, match="invalid argument"):
        ring.download([(back, some(32, 0))])

    ring.upload([(torch.zeros(100, dtype=torch.uint8), some(100, 1))]).wait()
    assert back.sum() == 0


def test_a_copy_that_fails_spoils_nothing():
    """The next upload and the next download are right."""
    for number in range(5):
        device = FakeDevice(fails_at_copy=number)
        ring = PinnedRing(device, chunk_bytes=16, num_chunks=2)
        target = torch.zeros(70, dtype=torch.uint8)
        with pytest.raises(RuntimeError, match="invalid argument"):
            ring.upload([(target, some(70, 0))])

        ring.upload([(target, some(70, 1))]).wait()
        back = torch.zeros(70, dtype=torch.uint8)
        ring.download([(back, target)])
        assert torch.equal(back, some(70, 1))
