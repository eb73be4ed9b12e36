"""What needs no GPU of the one for GPUs: which is meant, how memory is pinned, what is out of memory."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch

import engine.devices.cuda
from engine.devices import ALIGNMENT, DeviceNotFound, OutOfDeviceMemory
from engine.devices.cuda import CudaDevice

UUIDS = ["aaaa-1111", "bbbb-2222"]
SLICE = 4096


class Runtime:
    """A libcudart that pins, and refuses what it is told to."""

    def __init__(self) -> None:
        self.pinned: dict[int, int] = {}
        self.refused_flags: set[int] = set()
        self.refused_at: int | None = None

    def cudaHostRegister(self, address: int, size: int, flags: int) -> int:  # noqa: N802
        if flags in self.refused_flags or len(self.pinned) == self.refused_at:
            return 801
        self.pinned[address] = size
        return 0

    def cudaHostUnregister(self, address: int) -> int:  # noqa: N802
        del self.pinned[address]
        return 0


@pytest.fixture
def runtime(monkeypatch) -> Runtime:
    runtime = Runtime()
    for name, value in {
        "is_available": lambda: True,
        "device_count": lambda: len(UUIDS),
        "current_device": lambda: 1,
        "get_device_properties": lambda device: SimpleNamespace(
            name="H100", uuid=UUIDS[getattr(device, "index", device)]
        ),
        "cudart": lambda: runtime,
        "device": lambda _: nullcontext(),
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(engine.devices.cuda, "PIN_SLICE_BYTES", SLICE)
    return runtime


@pytest.mark.parametrize(
    ("which", "index"), [("", 1), ("0", 0), ("GPU-bbbb-2222", 1), ("GPU-AAAA-1111", 0)]
)
def test_a_gpu_is_known_by_number_and_uuid(runtime, which, index):
    """As nvidia-smi writes it."""
    device = CudaDevice(which)

    assert device.device == torch.device("cuda", index)
    assert (device.name, device.uuid) == ("H100", f"GPU-{UUIDS[index]}")


@pytest.mark.parametrize("which", ["2", "GPU-cccc-3333", "first"])
def test_one_that_is_not_here_is_an_error_that_names_it(runtime, which):
    """And says what is here."""
    with pytest.raises(DeviceNotFound, match=which):
        CudaDevice(which)


def test_memory_is_pinned_in_slices(runtime):
    """All of it, each byte once; then none of it."""
    host = torch.zeros(2 * SLICE + 100, dtype=torch.uint8)
    pinned = CudaDevice("0").pin(host)

    first = host.data_ptr()
    assert runtime.pinned == {first: SLICE, first + SLICE: SLICE, first + 2 * SLICE: 100}
    pinned.release()
    pinned.release()
    assert runtime.pinned == {}


def test_pages_that_are_written_too_are_pinned_another_way(runtime):
    """Some drivers know no read-only ones."""
    runtime.refused_flags = {9}

    assert CudaDevice("0").pin(torch.zeros(10, dtype=torch.uint8)) is not None


@pytest.mark.parametrize("place", [0, 2])
def test_what_cannot_be_pinned_whole_is_not_pinned(runtime, place):
    """Whichever slice is refused."""
    runtime.refused_at = place

    assert CudaDevice("0").pin(torch.zeros(3 * SLICE, dtype=torch.uint8)) is None
    assert runtime.pinned == {}


def test_memory_that_is_short_is_an_error_of_ours(runtime, monkeypatch):
    """Others stay what they are."""
    device = CudaDevice("0")

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(torch, "empty", fail)
    error = torch.OutOfMemoryError("CUDA out of memory.")
    with pytest.raises(OutOfDeviceMemory):
        device.allocate(100)
    error = RuntimeError("CUDA error: an illegal memory access was encountered")
    with pytest.raises(RuntimeError, match="illegal"):
        device.allocate(100)
    with pytest.raises(RuntimeError, match="illegal"):
        device.pinned(100)


@pytest.mark.parametrize("offset", [0, 512])
def test_memory_is_aligned_whatever_torch_gives(runtime, monkeypatch, offset):
    """A little more is taken where it must be."""
    room = torch.zeros(4 * ALIGNMENT, dtype=torch.uint8)
    start = -room.data_ptr() % ALIGNMENT + offset

    def given(num_bytes: int, **_: object) -> torch.Tensor:
        return room[start : start + num_bytes]

    monkeypatch.setattr(torch, "empty", given)
    found = CudaDevice("0").allocate(1000)
    assert found.data_ptr() % ALIGNMENT == 0
    assert len(found) == 1000
