"""The device that is one: skipped where there is none."""

import mmap
from collections.abc import Iterator

import pytest
import torch

from engine.api import Generation, Sampling
from engine.core.generate import LocalModel
from engine.core.opening import open_resident
from engine.devices import ALIGNMENT, PIN_SLICE_BYTES, Accelerator, OutOfDeviceMemory, accelerator
from engine.models.planes import UNIT
from engine.residency.arena import Arena
from engine.residency.ring import PinnedRing
from tests.engine.fixture_models import COMMITTED

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"),
    pytest.mark.filterwarnings("ignore:The given buffer is not writable"),
]

NUM_BYTES = 3 * UNIT + 1000


@pytest.fixture
def device() -> Iterator[Accelerator]:
    yield accelerator("cuda")
    torch.cuda.synchronize()


def some(num_bytes: int = NUM_BYTES) -> torch.Tensor:
    return torch.randint(256, (num_bytes,), dtype=torch.uint8)


def test_it_is_found_by_its_uuid(device):
    """As nvidia-smi writes it."""
    assert accelerator(f"cuda:{device.uuid}").device == device.device
    memory = device.memory()
    assert 0 < memory.free_bytes <= memory.total_bytes


@pytest.mark.parametrize("num_bytes", [100, 3 * ALIGNMENT, 50 * ALIGNMENT])
def test_memory_is_aligned(device, num_bytes):
    """Small pieces too."""
    found = device.allocate(num_bytes)

    assert found.data_ptr() % ALIGNMENT == 0
    assert (len(found), found.device) == (num_bytes, device.device)


def test_memory_that_is_short_is_an_error_of_ours(device):
    """And the device goes on."""
    with pytest.raises(OutOfDeviceMemory):
        device.allocate(2 * device.memory().total_bytes)
    assert len(device.allocate(100)) == 100


def test_copies_and_kernels_wait_for_each_other(device):
    """By events alone: what was copied is multiplied, and its memory overwritten only then."""
    pinned = device.pinned(1 << 26)
    pinned.fill_(1)
    target, total = device.allocate(1 << 26), torch.zeros(2, dtype=torch.int64, device="cuda")
    torch.cuda.synchronize()
    for turn in range(2):
        with device.copy_stream() as copies:
            device.copy(target, pinned)
            arrived = copies.record()
        with device.compute_stream() as compute:
            compute.wait(arrived)
            total[turn] = target.sum()
            read = compute.record()
        device.copy_stream().wait(read)
        arrived.wait()
        assert arrived.is_done()
        pinned.fill_(2)

    device.compute_stream().synchronise()
    assert total.tolist() == [1 << 26, 2 << 26]


@pytest.mark.parametrize("kind", ["anonymous", "file"])
def test_memory_that_is_there_can_be_pinned(device, tmp_path, kind):
    """In several slices; a map of a file where the driver takes one. Copies are right either way."""
    num_bytes = PIN_SLICE_BYTES + NUM_BYTES
    whole = some(num_bytes)
    if kind == "file":
        path = tmp_path / "image"
        path.write_bytes(whole.numpy().tobytes())
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), num_bytes, mmap.MAP_SHARED, mmap.PROT_READ)
        whole = torch.frombuffer(mapped, dtype=torch.uint8)
    pinned = device.pin(whole)
    assert pinned is not None or kind == "file"

    target = device.allocate(num_bytes)
    with device.copy_stream() as copies:
        for start in (0, PIN_SLICE_BYTES):
            end = min(num_bytes, start + PIN_SLICE_BYTES)
            device.copy(target[start:end], whole[start:end])
        copies.synchronise()
    assert torch.equal(target.cpu(), whole)
    if pinned is not None:
        pinned.release()


def test_what_could_not_be_pinned_spoils_nothing(device):
    """No later call hears of it."""
    host = some()
    pinned = device.pin(host)
    assert pinned is not None
    assert device.pin(host) is None, "it is pinned already"
    pinned.release()

    assert torch.ones(3, device="cuda").sum().item() == 3


def test_a_ring_carries_both_ways(device):
    """More than fits it at once."""
    ring = PinnedRing(device, chunk_bytes=1 << 20, num_chunks=3)
    source, target, back = (
        some(),
        device.allocate(NUM_BYTES),
        torch.zeros(NUM_BYTES, dtype=torch.uint8),
    )
    ring.upload([(target, source)]).wait()
    ring.download([(back, target)])

    assert torch.equal(back, source)


def test_a_graph_does_what_was_recorded(device):
    """Over the values that are there when it is replayed; one that fails leaves the device well."""
    x, y = torch.ones(8, device="cuda"), torch.zeros(8, device="cuda")
    torch.cuda.synchronize()

    def run() -> None:
        y.copy_(x * 2)

    with device.compute_stream() as compute:
        graph = device.capture(run)
        x.fill_(21)
        graph.replay()
        compute.synchronise()
    assert y.tolist() == [42] * 8

    def synchronise() -> None:
        (x * 3).sum().item()

    with pytest.raises(RuntimeError) as error:
        device.capture(synchronise)
    assert not device.is_sticky(error.value)
    with device.compute_stream() as compute:
        graph.replay()
        compute.synchronise()


def test_an_arena_gives_all_of_it_back(device):
    """To itself; the device has it until the process ends."""
    arena = Arena(device, 10 * UNIT)
    for _ in range(100):
        slots = [arena.take(number, [UNIT, 1000]) for number in range(3)]
        for slot in slots:
            slot.free()
    assert arena.free_bytes == 10 * UNIT


@pytest.mark.parametrize(
    "path", ["llama-plain/llama-plain-F32.gguf", "llama-q/llama-q-Q4_K_M.gguf"]
)
def test_a_model_says_what_it_says_on_a_cpu(device, path):
    """In float32, with whatever kernels there are."""
    generation = Generation(max_tokens=12, sampling=Sampling(temperature=0))
    said = []
    for where, form in ((None, "packed"), (device, "planes")):
        resident, _ = open_resident(COMMITTED / path, form, torch.float32, 256, accelerator=where)
        outputs = LocalModel(resident).generate(list(range(1, 40)), generation)
        said.append([token for output in outputs for token in output.token_ids])

    assert said[0] == said[1]
