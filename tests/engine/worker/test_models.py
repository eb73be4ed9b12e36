"""What outlives the step loop's models, and what it takes."""

from pathlib import Path

import msgspec
import pytest
import torch

from engine.api import DeviceStats, EngineError, HostMemory, LoadOrder, LoadReport, Sampling
from engine.cache.caches import Caches
from engine.cache.paged_kv import PagedKV
from engine.cache.table import BlockTable
from engine.checkpoint import open_checkpoint
from engine.core.resident import Resident
from engine.core.residents import Residents
from engine.core.work import Add, Begin, Drop, Pause
from engine.kernels.cpu.library import is_available
from engine.models.card import describe
from engine.residency.image_store import ImageStore
from engine.wire import Output, Start
from engine.worker.models import Models
from tests.engine.core.paused import Heard
from tests.engine.core.test_parking import Listening
from tests.engine.core.test_recurrent import MADE
from tests.engine.fixture_models import COMMITTED
from tests.engine.made_models import write

PLAIN = COMMITTED / "llama-plain/llama-plain-F32.gguf"
ORDER = LoadOrder(1, "cpu", str(PLAIN), "dense", kv_tokens=256)
LONG_PROMPT = [(7 * place * place + 3) % 90 for place in range(77)]
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


def test_an_evicted_pause_leaves_its_caches_too():
    """Its sequences are gone; what they computed is for the next of its kind, not for its handle."""
    models = models_of(HostMemory())
    caches = paused(models)

    assert models.park(1, None, is_paused=False) == []
    assert not models.is_paused(1)
    assert models.counted(DeviceStats()).parked_models == 1
    assert opened(models, msgspec.structs.replace(ORDER, handle=2)) is caches


def test_an_order_has_its_own_dtypes():
    """What it does not say is what the models were made with."""
    models = models_of(HostMemory())

    def loaded(handle: int, **said: str) -> tuple[torch.dtype, LoadReport]:
        order = msgspec.structs.replace(ORDER, handle=handle, **said)
        _, caches, report = models.open(order, lambda _: None, lambda: False)
        view = caches.views[0]
        assert isinstance(view, PagedKV)
        return view.keys.dtype, report

    kept, exact = loaded(1)
    assert kept == torch.float32
    kept, short = loaded(2, dtype="bfloat16")
    assert kept == torch.bfloat16
    assert short.weights_bytes == pytest.approx(exact.weights_bytes / 2, rel=0.01)  # norms are wide
    assert short.kv_bytes == exact.kv_bytes / 2
    for handle, kv_dtype, expected in ((3, "q8_0", torch.uint8), (4, "fp8", torch.float8_e4m3fn)):
        kept, packed = loaded(handle, kv_dtype=kv_dtype)
        assert kept == expected
        assert packed.weights_bytes == exact.weights_bytes
        assert packed.kv_bytes < exact.kv_bytes / 3


@pytest.mark.parametrize("changed", [{"dtype": "bfloat16"}, {"kv_dtype": "q8_0"}])
def test_caches_are_of_one_dtype(changed: dict[str, str]):
    """A model in another finds none of them; one that says the same by its name does."""
    models = models_of(HostMemory())
    caches = used(opened(models, ORDER))
    models.park(1, caches, is_paused=False)
    models.close(1)
    other = msgspec.structs.replace(ORDER, handle=2, **changed)
    same = msgspec.structs.replace(ORDER, handle=3, dtype="float32")

    assert opened(models, other) is not caches
    assert opened(models, same) is caches


@pytest.mark.parametrize("changed", [{"dtype": "bfloat16"}, {"kv_dtype": "q8_0"}])
def test_a_paused_model_keeps_its_dtypes(changed: dict[str, str]):
    """Its sequences go on with what they have computed, or not at all."""
    models = models_of(HostMemory())
    first = msgspec.structs.replace(ORDER, **changed)
    caches = used(opened(models, first))
    models.park(1, caches, is_paused=True)
    models.close(1)

    with pytest.raises(EngineError, match="order, has changed"):
        opened(models, RESUME)
    models.close(1)
    assert opened(models, msgspec.structs.replace(first, resumes=True)) is caches


class Playing:
    """A model that is opened and evicted over and over; it says which logits a prompt led to."""

    def __init__(self, path: Path, host: HostMemory) -> None:
        self._models, self._heard = models_of(host), Heard()
        self._residents = Residents(self._heard)
        self._order = LoadOrder(0, "cpu", str(path), "dense", kv_tokens=512, state_slots=8)

    def open(self) -> None:
        handle = self._order.handle + 1
        self._order = msgspec.structs.replace(self._order, handle=handle)
        model, caches, _ = self._models.open(self._order, lambda _: None, lambda: False)
        self._model = Listening(model)
        self._residents.apply(Add(handle, Resident(self._model, caches)))

    def say(self, max_tokens: int, until: int | None = None) -> tuple[int, torch.Tensor]:
        """Stops after `until` tokens, if told so. How much was cached, and the logits."""
        handle, greedy = self._order.handle, Sampling(temperature=0)
        start = Start(handle, handle, LONG_PROMPT, max_tokens, 0, [], greedy)
        self._residents.apply(Begin("owner", start))
        said: list[Output] = self._heard.outputs_of.setdefault(handle, [])
        while not self._residents.is_idle and len(said) != until:
            self._residents.step(handle)
        return said[0].cached_tokens, torch.cat(self._model.heard)

    def pause(self) -> None:
        self._residents.apply(Pause(self._order.handle))
        assert self._models.park(self._order.handle, self._heard.left(), is_paused=True) == []
        self._models.close(self._order.handle)

    def evict(self) -> None:
        handle = self._order.handle
        self._residents.apply(Drop(handle))
        assert self._models.park(handle, self._heard.caches.pop(), is_paused=False) == []
        self._models.close(handle)


@pytest.mark.parametrize("name", ["llama-plain", "falcon_h1"])
def test_a_prefix_survives_an_eviction_while_paused(name: str, tmp_path: Path):
    """Bit for bit: the logits after it are those after an eviction of the same model at rest."""
    path = write(tmp_path / "hf", MADE[name]()) if name in MADE else COMMITTED / name / "hf"
    paused, rested = Playing(path, HostMemory()), Playing(path, HostMemory())
    for playing in (paused, rested):
        playing.open()
    paused.say(8, until=3)
    paused.pause()
    rested.say(3)
    for playing in (paused, rested):
        playing.evict()
        playing.open()

    (cached, found), (_, expected) = paused.say(8), rested.say(8)
    assert cached == 64
    assert torch.equal(found, expected)


def test_a_pause_that_cannot_end_leaves_nothing():
    """Its sequences may still hold what is in its caches."""
    models = models_of(HostMemory())
    paused(models)

    models.forget(1)
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
