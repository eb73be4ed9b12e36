"""Models on a device, whole: what they say, what they leave, and what failures leave of them."""

from collections.abc import Callable
from concurrent.futures import Future
from itertools import count
from pathlib import Path

import msgspec
import pytest
import torch
from structlog.testing import capture_logs

from engine.api import DeviceStats, EngineError, Failure, HostMemory, LoadOrder, Sampling
from engine.cache.caches import Caches
from engine.checkpoint import open_checkpoint
from engine.core.failures import must_end
from engine.core.opening import open_resident
from engine.core.resident import Resident
from engine.core.residents import Residents
from engine.core.work import Add, Begin, Drop, GiveUp, Pause, Resume
from engine.models.card import DEVICE_WORKSPACE_BYTES, describe
from engine.models.planes import UNIT
from engine.residency.image_store import ImageStore
from engine.wire import Start
from engine.worker.models import Models
from tests.engine.core.paused import Heard
from tests.engine.core.test_recurrent import MADE
from tests.engine.fixture_models import COMMITTED
from tests.engine.made_models import write
from tests.support.fake_device import FakeDevice

PLAIN = COMMITTED / "llama-plain/llama-plain-F32.gguf"
QUANTISED = COMMITTED / "llama-q/llama-q-Q4_K_M.gguf"
PROMPT = [(7 * place * place + 3) % 90 for place in range(77)]
GREEDY = Sampling(temperature=0)
ROOMY = HostMemory(warm_bytes=2**30, parked_bytes=2**30)


class Playing:
    """A device with models, opened and evicted over and over."""

    def __init__(
        self,
        num_units: int = 8,
        host: HostMemory = ROOMY,
        folder: Path | None = None,
        on_lost: Callable[[], None] = lambda: None,
        **device: object,
    ) -> None:
        self.device = FakeDevice(num_units * UNIT, **device)
        self.models = Models(
            torch.float32,
            ImageStore(folder),
            host,
            num_units * UNIT + DEVICE_WORKSPACE_BYTES,
            accelerator=self.device,
            on_lost=on_lost,
        )
        self.heard = Heard()
        self.residents = Residents(self.heard)
        self._handle = 0

    def order(self, path: Path = PLAIN, kv_tokens: int = 256) -> LoadOrder:
        self._handle += 1
        return LoadOrder(self._handle, "cuda:0", str(path), "planes", kv_tokens, state_slots=8)

    def open(self, order: LoadOrder) -> Caches:
        model, caches, self.report = self.models.open(order, lambda _: None, lambda: False)
        if order.resumes:
            resumed: Future[bool] = Future()
            self.residents.apply(Resume(order.handle, model, caches, resumed))
        else:
            self.residents.apply(Add(order.handle, Resident(model, caches)))
        return caches

    def begin(self, order: LoadOrder, max_tokens: int = 8, number: int | None = None) -> None:
        number = order.handle if number is None else number
        start = Start(number, order.handle, PROMPT, max_tokens, 0, [], GREEDY)
        self.residents.apply(Begin("owner", start))

    def run(self, until: float = float("inf"), number: int | None = None) -> list[int]:
        """Until nothing is left to do, or a sequence has said so many tokens; what it has said."""
        steps = 0
        while not self.residents.is_idle and steps < 200:
            said = self.said(number)
            if len(said) >= until:
                break
            self.residents.step(self.residents.next_turn())
            steps += 1
        return self.said(number)

    def step(self, num_steps: int) -> None:
        """Whatever comes of it."""
        for _ in range(num_steps):
            if not self.residents.is_idle:
                self.residents.step(self.residents.next_turn())

    def said(self, number: int | None = None) -> list[int]:
        outputs = self.heard.outputs_of.get(self._handle if number is None else number, [])
        assert not [output.failure for output in outputs if output.failure]
        return [token for output in outputs for token in output.token_ids]

    def evict(self, order: LoadOrder) -> None:
        self.residents.apply(Drop(order.handle))
        lost = self.models.park(order.handle, self.heard.caches.pop(), is_paused=False)
        self._let_go(order, lost)

    def pause(self, order: LoadOrder) -> None:
        self.residents.apply(Pause(order.handle))
        self._let_go(order, self.models.park(order.handle, self.heard.left(), is_paused=True))

    def _let_go(self, order: LoadOrder, lost: list[Caches]) -> None:
        for caches in lost:
            caches.discard()
        self.models.close(order.handle)

    @property
    def is_clean(self) -> bool:
        self.models.arena.check()
        return self.models.arena.free_bytes == self.models.arena.num_bytes


def said_by_reference(path: Path, max_tokens: int = 8, form: str = "packed") -> list[int]:
    resident, _ = open_resident(path, form, torch.float32, 256, 8)
    heard = Heard()
    residents = Residents(heard)
    residents.apply(Add(1, resident))
    residents.apply(Begin("owner", Start(1, 1, PROMPT, max_tokens, 0, [], GREEDY)))
    while not residents.is_idle:
        residents.step(1)
    return [token for output in heard.outputs_of[1] for token in output.token_ids]


@pytest.fixture(
    scope="module",
    params=["llama-plain", "llama-q", "gemma3-swa", "gptoss-mxfp4", "deepseek3-noaux", *MADE],
)
def path(request, tmp_path_factory) -> Path:
    name = request.param
    if name in MADE:
        return write(tmp_path_factory.mktemp(name) / "hf", MADE[name]())
    return {"llama-plain": PLAIN, "llama-q": QUANTISED}.get(name, COMMITTED / name / "hf")


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_model_says_what_it_says_on_a_cpu(path, seed):
    """Built, and warm; with weights that come while it reads its prompt."""
    playing, expected = Playing(seed=seed), said_by_reference(path)
    for tier in ("built", "warm"):
        order = playing.order(path)
        playing.open(order)
        playing.begin(order)
        assert playing.run() == expected
        assert playing.report.tier == tier
        playing.evict(order)
        assert playing.is_clean


def test_a_report_says_what_is_taken(path):
    """As the card does; on the device it is no more than that."""
    playing = Playing()
    order = playing.order(path)
    playing.open(order)
    with open_checkpoint(path) as checkpoint:
        card = describe(checkpoint, torch.float32, kinds=("cuda",), device_dtype=torch.float32)
    (footprint,) = card.footprints

    taken = playing.models.arena.num_bytes - playing.models.arena.free_bytes
    assert playing.report.weights_bytes == footprint.weights_bytes
    assert playing.report.total_bytes == footprint.total(order.kv_tokens, order.state_slots)
    assert taken <= footprint.total(order.kv_tokens, order.state_slots) - DEVICE_WORKSPACE_BYTES


def test_a_pause_changes_no_token(path):
    """Another model ran over its memory meanwhile."""
    playing, expected = Playing(num_units=2), said_by_reference(path)
    order = playing.order(path)
    playing.open(order)
    playing.begin(order)
    before = playing.run(until=3)
    playing.pause(order)
    assert playing.is_clean
    assert playing.models.is_paused(order.handle)
    assert playing.models.counted(DeviceStats()).parked_models == 1

    other = playing.order(QUANTISED)
    playing.open(other)
    playing.begin(other)
    playing.run()
    playing.evict(other)

    playing.open(msgspec.structs.replace(order, resumes=True))
    assert playing.run(number=order.handle) == expected
    assert 3 <= len(before) < len(expected)
    playing.evict(order)
    assert playing.is_clean


def test_a_prefix_survives_an_eviction(path):
    """What was read is not read again, and leads to the same tokens."""
    playing = Playing()
    said = []
    for _ in range(2):
        order = playing.order(path)
        playing.open(order)
        playing.begin(order)
        said.append(playing.run())
        playing.evict(order)

    assert said[0] == said[1]
    assert playing.heard.outputs_of[2][0].cached_tokens == 64
    assert playing.is_clean


def test_what_does_not_fit_host_memory_is_computed_again():
    """A paused model comes back all the same."""
    playing, expected = Playing(host=HostMemory(2**30, parked_bytes=0)), said_by_reference(PLAIN)
    order = playing.order()
    playing.open(order)
    playing.begin(order)
    playing.run(until=3)
    playing.pause(order)
    assert playing.models.counted(DeviceStats()).parked_bytes == 0

    playing.open(msgspec.structs.replace(order, resumes=True))
    assert playing.run() == expected


def test_a_pause_that_is_evicted_leaves_its_caches_to_others():
    """Also where that is decided before they were copied."""
    playing = Playing()
    order = playing.order()
    playing.open(order)
    playing.begin(order)
    playing.run(until=3)
    playing.residents.apply(Pause(order.handle))
    assert playing.models.park(order.handle, playing.heard.left(), is_paused=True) == []
    playing.residents.apply(Drop(order.handle))
    assert playing.models.park(order.handle, playing.heard.caches.pop(), is_paused=False) == []
    playing.models.close(order.handle)

    again = playing.order()
    playing.open(again)
    playing.begin(again)
    playing.run()
    assert playing.heard.outputs_of[again.handle][0].cached_tokens == 64


def test_a_device_that_is_full_refuses_and_goes_on():
    """The model that is there says all that it has to say; the next fits when it is gone."""
    playing = Playing(num_units=2)
    order = playing.order()
    playing.open(order)
    playing.begin(order)
    playing.run(until=2)
    refused = playing.order(QUANTISED)
    with pytest.raises(MemoryError):
        playing.open(refused)
    playing.models.close(refused.handle)

    assert playing.run(number=order.handle) == said_by_reference(PLAIN)
    playing.evict(order)
    assert playing.is_clean
    playing.open(playing.order(QUANTISED))


@pytest.mark.parametrize(
    ("failing", "step"),
    [
        ("fails_at_allocation", 1),
        ("fails_at_copy", 4),
        pytest.param("fails_at_copy", 1, marks=pytest.mark.slow),
    ],
)
def test_nothing_that_fails_leaves_anything(tmp_path, failing, step):
    """In a load, a step, a pause or a resume: the device's memory is accounted for, and it goes on."""
    expected = said_by_reference(PLAIN, 4)
    for number in count(step=step):
        playing = Playing(folder=tmp_path, **{failing: number})
        with capture_logs():  # a traceback for each takes longer than all else
            live(playing)
        assert playing.is_clean
        device = playing.device
        if max(device.num_allocations, device.num_copies) <= number:
            break
        order = playing.order()
        playing.open(order)
        playing.begin(order, 4)
        assert playing.run() == expected
    assert number > 3


def live(playing: Playing) -> None:
    """A model's life, as long as nothing fails that it cannot live without."""
    order = playing.order()
    try:
        playing.open(order)
        playing.begin(order, 4)
        playing.step(2)
        playing.pause(order)
        playing.open(msgspec.structs.replace(order, resumes=True))
    except (MemoryError, RuntimeError):  # as loads do
        playing.residents.apply(GiveUp(order.handle, Failure("out_of_memory", "")))
        playing.models.forget(order.handle)
        playing.models.close(order.handle)
    else:
        playing.step(10)
        playing.evict(order)


def test_a_lost_device_is_an_error_that_ends_the_process():
    """Of whatever asks it for something first; to let go of what was there says so, too."""
    lost: list[str] = []
    playing = Playing(on_lost=lambda: lost.append("lost"))
    order = playing.order()
    playing.open(order)
    playing.begin(order)
    playing.run(until=2)
    playing.device.lose()
    refused = playing.order(QUANTISED)
    with pytest.raises(RuntimeError) as raised:
        playing.open(refused)
    assert must_end(raised.value)
    assert lost == ["lost"]
    playing.models.close(refused.handle)
    assert playing.models.close(order.handle)
    assert lost == ["lost"] * 2


def test_a_form_for_other_devices_is_refused():
    """A bug of whoever places models, and no crash."""
    playing = Playing()
    order = msgspec.structs.replace(playing.order(), form="tiled")
    with pytest.raises(EngineError, match="tiled"):
        playing.open(order)


@pytest.mark.parametrize("num_swaps", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_nothing_leaks_in_a_thousand_swaps(num_swaps):
    """With caches that come and go: the device has its last byte back each time."""
    playing = Playing(num_units=2)
    paths, expected = (PLAIN, QUANTISED), [said_by_reference(p, 2) for p in (PLAIN, QUANTISED)]
    for number in range(num_swaps):
        order = playing.order(paths[number % 2])
        playing.open(order)
        if number % 50 < 2:
            playing.begin(order, max_tokens=2)
            assert playing.run() == expected[number % 2]
        playing.evict(order)
        assert playing.models.arena.free_bytes == 2 * UNIT

    assert playing.is_clean
    assert playing.models.counted(DeviceStats()).parked_models == 2


def test_dtypes_lie_side_by_side():
    """Each says what it says alone, and both stay warm in the one budget of the host."""
    alone, beside = Playing(), Playing()
    exact = alone.order()
    alone.open(exact)
    alone.begin(exact)
    expected = alone.run()

    orders = [beside.order(), msgspec.structs.replace(beside.order(), dtype="bfloat16")]
    kept = [beside.open(order).views[0].tensors[0].dtype for order in orders]
    for order in orders:
        beside.begin(order)
    beside.run()
    assert kept == [torch.float32, torch.bfloat16]
    assert beside.said(orders[0].handle) == expected
    assert len(beside.said(orders[1].handle)) == len(expected)

    for order in orders:
        beside.evict(order)
    assert beside.models.counted(DeviceStats()).warm_models == 2
