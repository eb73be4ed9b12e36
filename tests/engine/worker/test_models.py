"""What outlives the step loop's models, and what it takes."""

import msgspec
import pytest
import torch

from engine.api import DeviceStats, EngineError, HostMemory, LoadOrder
from engine.cache.caches import Caches
from engine.cache.table import BlockTable
from engine.checkpoint import open_checkpoint
from engine.kernels.cpu.library import is_available
from engine.models.card import describe
from engine.residency.image_store import ImageStore
from engine.worker.models import Models
from tests.engine.fixture_models import COMMITTED

PLAIN = COMMITTED / "llama-plain/llama-plain-F32.gguf"
ORDER = LoadOrder(1, "cpu", str(PLAIN), "dense", kv_tokens=256)
RESUME = msgspec.structs.replace(ORDER, resumes=True)


def models_of(host: HostMemory, device_bytes: int = 2**30) -> Models:
    return Models(torch.float32, ImageStore(None), host, device_bytes)


def opened(models: Models, order: LoadOrder) -> Caches:
    return models.open(order, lambda _: None, lambda: False)[1]


def used(caches: Caches) -> Caches:
    """With a block in it that is worth keeping."""
    table, prompt = BlockTable(), [5] * 16
    assert caches.manager.reserve(table, prompt)
    caches.manager.commit(table, prompt, len(prompt))
    caches.manager.release(table)
    return caches


def paused(models: Models) -> Caches:
    caches = used(opened(models, ORDER))
    models.park(1, caches, is_paused=True)
    models.close(1)
    return caches


def test_a_paused_model_finds_its_own_caches():
    """They are counted while it is away, and no more once it is back."""
    models = models_of(HostMemory())
    caches = paused(models)
    assert models.is_paused(1)
    away = models.counted(DeviceStats())
    assert away.parked_models == 1
    assert 0 < away.parked_bytes < caches.token_bytes

    assert opened(models, RESUME) is caches
    assert not models.is_paused(1)
    assert models.counted(DeviceStats()).parked_bytes == 0


def test_what_does_not_fit_is_lost():
    """A paused model comes back all the same, with empty caches of the same size."""
    models = models_of(HostMemory(parked_bytes=0))
    caches = paused(models)
    assert models.counted(DeviceStats()).parked_bytes == 0

    again = opened(models, RESUME)
    assert again is not caches
    assert again.manager.is_blank
    assert again.token_bytes == caches.token_bytes


def test_an_evicted_model_leaves_its_caches_to_the_next_of_its_kind():
    """Under another handle; not to one that has another size."""
    models = models_of(HostMemory())
    caches = used(opened(models, ORDER))
    models.park(1, caches, is_paused=False)
    models.close(1)
    other_size = msgspec.structs.replace(ORDER, handle=2, kv_tokens=512)
    same = msgspec.structs.replace(ORDER, handle=3)

    assert opened(models, other_size) is not caches
    assert opened(models, same) is caches


def test_an_evicted_pause_leaves_nothing():
    """What belonged to the paused sequences goes with them."""
    models = models_of(HostMemory())
    caches = paused(models)

    assert models.park(1, None, is_paused=False) == [caches]
    assert not models.is_paused(1)
    assert models.counted(DeviceStats()).parked_models == 0


def test_a_checkpoint_that_changed_is_not_resumed(tmp_path):
    """Its caches are of other weights."""
    path = tmp_path / "model.gguf"
    path.write_bytes(PLAIN.read_bytes())
    models = models_of(HostMemory())
    order = msgspec.structs.replace(ORDER, path=str(path))
    models.park(1, used(opened(models, order)), is_paused=True)
    models.close(1)
    path.write_bytes(PLAIN.read_bytes()[:-4096] + bytes(4096))

    with pytest.raises(EngineError) as error:
        opened(models, msgspec.structs.replace(order, resumes=True))
    assert error.value.code == "bad_checkpoint"


def test_parked_caches_take_an_eighth_by_default():
    """Of what the device may use; what an operator says counts instead."""
    caches = used(opened(models_of(HostMemory()), ORDER))
    needed = caches.trim()

    for host, device_bytes, is_kept in (
        (HostMemory(), 8 * needed, True),
        (HostMemory(), 8 * needed - 8, False),
        (HostMemory(parked_bytes=needed), 0, True),
    ):
        models = models_of(host, device_bytes)
        mine = used(opened(models, ORDER))
        assert (models.park(1, mine, is_paused=True) == []) is is_kept


@pytest.mark.parametrize(
    "dtype",
    [
        torch.float32,
        pytest.param(
            torch.bfloat16,
            marks=pytest.mark.skipif(not is_available(), reason="the native library is not built"),
        ),
    ],
)
def test_a_report_counts_what_cannot_be_measured_yet(dtype: torch.dtype):
    """What operations will take while they run is in it as in the card, or others would get it."""
    with open_checkpoint(PLAIN) as checkpoint:
        (footprint, *_) = describe(checkpoint, dtype).footprints
    order = msgspec.structs.replace(ORDER, form=footprint.form)

    _, _, report = Models(dtype, ImageStore(None), HostMemory(), 2**30).open(
        order, lambda _: None, lambda: False
    )

    assert report.total_bytes == pytest.approx(footprint.total(ORDER.kv_tokens), rel=0.01)
