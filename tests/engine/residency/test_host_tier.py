"""Images in host memory: pinned one way or another, within a budget, and there as long as copies read them."""

import gc
import mmap
import re
from pathlib import Path

import pytest
import torch

import engine.residency.host_tier
from engine.residency.host_tier import HostImage, HostTier, ImageGoneError
from tests.support.fake_device import FakeDevice, FakePinned

SIZE = 3 * mmap.PAGESIZE


class PicksMaps(FakeDevice):
    """Refuses the first memory that it is to pin, as drivers do a map of a file."""

    num_asked = 0

    def pin(self, host: torch.Tensor) -> FakePinned | None:
        self.num_asked += 1
        return None if self.num_asked == 1 else super().pin(host)


def image_of(folder: Path, key: str, value: int = 7) -> HostImage:
    """Over a mapped file."""
    path = folder / f"{key}.image"
    path.write_bytes(bytes([value]) * SIZE)
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), SIZE, mmap.MAP_SHARED, mmap.PROT_READ)
    return HostImage(key, torch.frombuffer(mapped, dtype=torch.uint8), is_file=True)


def is_mapped(image: str) -> bool:
    return bool(re.search(rf"/{image}\.image", Path("/proc/self/maps").read_text()))


pytestmark = pytest.mark.filterwarnings("ignore:The given buffer is not writable")


def test_an_image_is_pinned_as_it_is(tmp_path):
    """Once, however often it is found."""
    device = FakeDevice()
    tier, image = HostTier(device, 10 * SIZE), image_of(tmp_path, "a")
    assert tier.keep(image) == []
    tier.settle()
    assert image.is_pinned
    assert device.pinned_memory == {image.whole.data_ptr(): SIZE}

    assert tier.find("a") is image
    tier.settle()
    assert is_mapped("a")


def test_a_map_that_cannot_be_pinned_is_copied(tmp_path):
    """The copy has its bytes and takes its place; the next map is copied without being tried."""
    device = PicksMaps()
    one, other = image_of(tmp_path, "a", 1), image_of(tmp_path, "b", 2)
    tier = HostTier(device, 10 * SIZE)
    for image in (one, other):
        tier.keep(image)
    tier.settle()
    gc.collect()

    for image, value in ((one, 1), (other, 2)):
        assert image.is_pinned
        assert image.whole.unique().tolist() == [value]
        assert not is_mapped(image.key)
    assert len(device.pinned_memory) == 2
    assert device.num_asked == 3


@pytest.mark.parametrize("has_memory", [True, False])
def test_what_cannot_be_pinned_stays_as_it_is(tmp_path, monkeypatch, has_memory):
    """It goes by way of a ring."""
    if not has_memory:
        monkeypatch.setattr(engine.residency.host_tier, "available_bytes", lambda: SIZE)
    tier, image = HostTier(FakeDevice(refuses_pins=True), 10 * SIZE), image_of(tmp_path, "a")
    tier.keep(image)
    tier.settle()

    assert not image.is_pinned
    assert tier.find("a") is image
    assert image.whole.unique().tolist() == [7]


def test_the_longest_unused_goes_first(tmp_path):
    """To find one is to use it; what goes is unpinned and unmapped."""
    device = FakeDevice()
    tier = HostTier(device, 2 * SIZE)
    for key in "ab":
        tier.keep(image_of(tmp_path, key))
    tier.find("a")
    (gone,) = tier.keep(image_of(tmp_path, "c"))
    assert gone.key == "b"
    tier.let_go(gone)
    tier.settle()
    del gone
    gc.collect()

    assert tier.num_bytes == 2 * SIZE
    assert [is_mapped(key) for key in "abc"] == [True, False, True]
    assert len(device.pinned_memory) == 2
    assert tier.find("b") is None


def test_one_that_does_not_fit_is_given_back(tmp_path):
    """It is used, and let go of."""
    tier, image = HostTier(FakeDevice(), SIZE - 1), image_of(tmp_path, "a")

    assert tier.keep(image) == [image]
    assert tier.num_bytes == 0


@pytest.mark.parametrize("how", ["let go of", "replaced by a copy"])
def test_copies_are_waited_for(tmp_path, how):
    """Pages that a device reads are not let go of: it would read something else."""
    device = PicksMaps() if how == "replaced by a copy" else FakeDevice()
    tier, image = HostTier(device, 10 * SIZE), image_of(tmp_path, "a")
    target = torch.zeros(SIZE, dtype=torch.uint8)
    with image.in_use() as events, device.copy_stream() as copies:
        device.copy(target, image.whole)
        events.append(copies.record())

    if how == "let go of":
        tier.let_go(image)
    else:
        tier.keep(image)
    tier.settle()
    assert target.unique().tolist() == [7]


def test_an_image_that_is_gone_says_so(tmp_path):
    """Whoever had found it a moment before maps it again."""
    device = FakeDevice()
    tier, image = HostTier(device, 10 * SIZE), image_of(tmp_path, "a")
    tier.keep(image)
    tier.let_go(image)
    tier.settle()

    with pytest.raises(ImageGoneError), image.in_use():
        pass
    assert device.pinned_memory == {}
    tier.keep(image)
    tier.settle()
    assert device.pinned_memory == {}


def test_a_device_that_fails_stops_nothing(tmp_path):
    """What is to be done next is done."""
    device = FakeDevice()
    tier, image = HostTier(device, 10 * SIZE), image_of(tmp_path, "a")
    device.lose()
    tier.keep(image)
    tier.settle()

    assert not image.is_pinned
    assert tier.find("a") is image
