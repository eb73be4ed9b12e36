"""Weights on a device: there when they are waited for, and gone to the last byte."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from pathlib import Path

import pytest
import torch

from engine.checkpoint import open_checkpoint
from engine.core.device_weights import DeviceWeights
from engine.core.weights import Opened
from engine.devices import DeviceLost, OutOfDeviceMemory
from engine.models.planes import UNIT
from engine.residency.arena import Arena
from engine.residency.host_tier import HostImage, HostTier
from engine.residency.loader import LoadCancelled, load
from engine.residency.ring import PinnedRing
from tests.engine.batches import logprobs_of
from tests.engine.fixture_models import gguf_copy
from tests.engine.residency.images import QUANTISED, PatientStore
from tests.support.fake_device import FakeDevice

PROMPT = [1, 2, 3]
ENOUGH = 2**30


class Loading:
    """Weights of a small device, with what they are made of."""

    def __init__(
        self,
        folder: Path | None,
        num_units: int = 4,
        warm_bytes: int = ENOUGH,
        **device: object,
    ) -> None:
        self.device = FakeDevice(num_units * UNIT, **device)
        self.arena = Arena(self.device, num_units * UNIT)
        ring = PinnedRing(self.device, chunk_bytes=1 << 16, num_chunks=2)
        store = PatientStore(folder)
        self.weights = DeviceWeights(self.arena, ring, torch.float32, store, warm_bytes)

    def open(self, path: Path = QUANTISED, **watch: object) -> Opened:
        return self.weights.open(path, "planes", **watch)

    def said(self, opened: Opened) -> torch.Tensor:
        opened.arrivals.wait_for_all()
        return logprobs_of(opened.model, PROMPT)

    @property
    def is_clean(self) -> bool:
        self.arena.check()
        return self.arena.free_bytes == self.arena.num_bytes


@pytest.fixture(scope="module")
def expected() -> torch.Tensor:
    with open_checkpoint(QUANTISED) as checkpoint:
        model = load(checkpoint, "packed", torch.float32, lambda _: None, lambda: False)
    return logprobs_of(model, PROMPT)


@pytest.mark.parametrize("refuses_pins", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_weights_come_from_wherever_they_are(tmp_path, expected, refuses_pins, seed):
    """Built, warm and from the disk of another process, pinned or not: what the reference has."""
    loading = Loading(tmp_path, refuses_pins=refuses_pins, seed=seed)
    for tier in ("built", "warm", "warm"):
        opened = loading.open()
        assert opened.tier == tier
        assert torch.equal(loading.said(opened), expected)
        loading.weights.close(opened)
        loading.weights.settle()

    again = Loading(tmp_path, refuses_pins=refuses_pins)
    assert again.open().tier == "disk"
    assert loading.is_clean


def test_without_waiting_they_are_not_there(tmp_path, expected):
    """So that a program that forgets to wait is found out by these tests."""
    loading = Loading(tmp_path)
    opened = loading.open()
    loading.weights.close(opened)
    loading.weights.settle()
    loading.device.compute_stream().synchronise()
    other = loading.open(gguf_copy(tmp_path / "other.gguf", "llama-plain"))
    opened = loading.open()

    assert not opened.arrivals.is_complete
    assert not torch.equal(logprobs_of(opened.model, PROMPT), expected)
    assert torch.equal(loading.said(opened), expected)
    loading.weights.close(other)


def test_who_comes_back_finds_its_place(tmp_path):
    """And the number that says so; under another's weights it is another."""
    loading = Loading(tmp_path)
    first = loading.open()
    loading.weights.close(first)
    again = loading.open()
    twice = loading.open()

    assert again.generation == first.generation
    assert twice.generation != first.generation
    assert again.key == twice.key


def test_a_device_that_is_full_says_so(tmp_path):
    """Before anything is read; what is there stays."""
    loading = Loading(tmp_path, num_units=1)
    opened = loading.open()
    told: list[str] = []
    with pytest.raises(OutOfDeviceMemory):
        loading.open(
            gguf_copy(tmp_path / "other.gguf", "llama-plain"),
            progress=lambda _: told.append("read"),
        )
    assert told == []

    loading.weights.close(opened)
    assert loading.is_clean


@pytest.mark.parametrize("warm_bytes", [ENOUGH, 0])
@pytest.mark.parametrize("refuses_pins", [False, True])
def test_no_allocation_or_copy_that_fails_leaves_anything(
    tmp_path, expected, warm_bytes, refuses_pins
):
    """Whichever it is: memory is accounted for, and the next load is right."""
    for failing in ("fails_at_allocation", "fails_at_copy"):
        for number in count():
            loading = Loading(
                tmp_path, warm_bytes=warm_bytes, refuses_pins=refuses_pins, **{failing: number}
            )
            failed = 0
            for _ in range(2):
                try:
                    opened = loading.open()
                except (MemoryError, RuntimeError):
                    failed += 1
                else:
                    assert torch.equal(loading.said(opened), expected)
                    loading.weights.close(opened)
                loading.weights.settle()
                assert loading.is_clean
            if not failed:
                break
        assert number > 0


def _is_behind(asked: Iterator[int], limit: int) -> bool:
    return next(asked) >= limit


def test_a_cancelled_load_leaves_nothing(tmp_path):
    """Wherever it was."""
    for limit in count():
        asked = count()
        loading = Loading(tmp_path, refuses_pins=True)
        try:
            opened = loading.open(cancelled=partial(_is_behind, asked, limit))
        except LoadCancelled:
            assert loading.is_clean
        else:
            loading.weights.close(opened)
            break
    assert limit > 3


def test_progress_never_goes_back(tmp_path):
    """And ends at one: built, from the disk, and from host memory."""
    for refuses_pins in (False, True):
        loading = Loading(tmp_path / str(refuses_pins), refuses_pins=refuses_pins)
        for _ in range(3):
            seen: list[float] = []
            loading.weights.close(loading.open(progress=seen.append))
            loading.weights.settle()

            assert seen == sorted(seen)
            assert seen[-1] == pytest.approx(1)


def test_what_takes_long_is_announced(tmp_path):
    """A pinned image takes no longer than a step; a load of any other gives way to steps."""
    loading, told = Loading(tmp_path), []
    for expected in (True, False):
        loading.weights.close(loading.open(take_time=lambda: told.append("now")))
        loading.weights.settle()
        assert bool(told) is expected
        told.clear()


def test_only_what_nobody_uses_counts_as_warm(tmp_path):
    """Its image is in host memory all the while."""
    loading = Loading(tmp_path)
    opened = loading.open()
    assert (loading.weights.warm_models, loading.weights.warm_bytes) == (0, 0)
    assert loading.weights.host_bytes > 0

    assert not loading.weights.close(opened)
    assert (loading.weights.warm_models, loading.weights.warm_bytes) == (
        1,
        loading.weights.host_bytes,
    )


def test_without_a_budget_no_image_is_kept(tmp_path):
    """Each load maps it anew, and lets go of it once it was copied."""
    loading = Loading(tmp_path, warm_bytes=0)
    for tier in ("built", "disk"):
        opened = loading.open()
        assert opened.tier == tier
        loading.weights.close(opened)
    loading.weights.settle()

    assert loading.device.pinned_memory == {}
    assert loading.weights.host_bytes == 0


def test_pages_stay_pinned_while_copies_read_them(tmp_path, expected, monkeypatch):
    """Though their image is to go."""
    loading = Loading(tmp_path)
    loading.weights.close(loading.open())
    loading.weights.settle()
    find, images = HostTier.find, list[tuple[HostTier, HostImage]]()

    def found(tier: HostTier, key: str) -> HostImage | None:
        images.append((tier, find(tier, key)))
        return images[-1][1]

    monkeypatch.setattr(HostTier, "find", found)
    opened = loading.open()
    ((tier, image),) = images
    assert image.is_pinned
    tier.let_go(image)
    loading.weights.settle()

    assert loading.device.num_released_early == 0
    assert torch.equal(loading.said(opened), expected)


def test_an_image_that_goes_meanwhile_is_mapped_again(tmp_path, expected, monkeypatch):
    """Between being found and being copied from."""
    loading = Loading(tmp_path)
    loading.weights.close(loading.open())
    find = HostTier.find

    def found(tier: HostTier, key: str) -> HostImage | None:
        image = find(tier, key)
        if image is not None:
            image.release()
        return image

    monkeypatch.setattr(HostTier, "find", found)
    opened = loading.open()
    assert opened.tier == "disk"
    assert torch.equal(loading.said(opened), expected)


def test_a_lost_device_ends_the_load(tmp_path):
    """With its own error, by which the process ends."""
    loading = Loading(tmp_path)
    opened = loading.open()
    loading.device.lose()

    with pytest.raises(DeviceLost):
        loading.open(gguf_copy(tmp_path / "other.gguf", "llama-plain"))
    with pytest.raises(DeviceLost):
        loading.weights.close(opened)
    assert loading.is_clean


def test_threads_may_open_and_close(tmp_path, expected):
    """Though there is room for some of them only in host memory, and for few on the device."""
    loading = Loading(tmp_path, num_units=8, warm_bytes=1_000_000)
    paths = [QUANTISED, *(gguf_copy(tmp_path / f"{name}.gguf", "llama-plain") for name in "ab")]

    def use(number: int) -> bool:
        opened = loading.open(paths[number % 3])
        loading.device.copy_stream().synchronise()
        is_right = number % 3 != 0 or torch.equal(logprobs_of(opened.model, PROMPT), expected)
        loading.weights.close(opened)
        return is_right

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(use, range(40)))
    loading.weights.settle()
    assert loading.is_clean
    assert len(loading.device.pinned_memory) <= 2


def test_images_in_memory_alone_will_do():
    """Without a disk they are kept all the same."""
    loading = Loading(None)
    for tier in ("built", "warm"):
        opened = loading.open()
        assert opened.tier == tier
        loading.weights.close(opened)
        loading.weights.settle()


def test_nothing_leaks_in_a_thousand_swaps(tmp_path, expected):
    """Two models in turn, where one has room: not a byte of the device, nor of what is pinned."""
    other = gguf_copy(tmp_path / "other.gguf", "llama-plain")
    loading = Loading(tmp_path, num_units=1)
    pinned = None
    for number in range(1000):
        opened = loading.open((QUANTISED, other)[number % 2])
        if number % 100 == 0:
            assert torch.equal(loading.said(opened), expected)
        loading.weights.close(opened)
        assert loading.arena.free_bytes == UNIT
        if number == 3:
            loading.weights.settle()
            pinned = dict(loading.device.pinned_memory)

    loading.weights.settle()
    assert loading.device.num_allocations == 3, "the arena, and a ring of two chunks"
    assert loading.device.pinned_memory == pinned
    assert len(pinned) == 2
    assert loading.is_clean
