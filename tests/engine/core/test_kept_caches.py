"""Caches on a device: made in its arena, taken to host memory, and brought back as they were."""

import pytest
import torch

from engine.cache.caches import Caches
from engine.cache.spec import KV, Both, CacheSpec, Latent, State
from engine.cache.table import BlockTable
from engine.cache.views import CacheSize
from engine.core.kept_caches import DeviceCaches
from engine.core.parking import CacheKey
from engine.devices import OutOfDeviceMemory
from engine.models.planes import UNIT
from engine.residency.arena import Arena
from engine.residency.ring import PinnedRing
from tests.support.fake_device import FakeDevice

SIZE = CacheSize(num_blocks=8, block_size=16, num_slots=4)
STATE = State({"conv": (3, 4), "ssm": (5,)})
SPECS: list[CacheSpec] = [KV(2, 8), Latent(6), STATE, Both(KV(1, 4), STATE)]
KEY = CacheKey("weights", SIZE, torch.bfloat16)


class Keeping:
    """Caches of a small device."""

    def __init__(self, parked_bytes: int = 2**20, num_units: int = 2, **device: object) -> None:
        self.device = FakeDevice(num_units * UNIT, **device)
        self.arena = Arena(self.device, num_units * UNIT)
        ring = PinnedRing(self.device, chunk_bytes=1000, num_chunks=2)
        self.caches = DeviceCaches(self.arena, ring, parked_bytes)

    def open(self, handle: int, place: CacheKey | int = KEY) -> Caches:
        caches, event = self.caches.open(handle, place, KEY, SPECS)
        if event is not None:
            self.device.compute_stream().wait(event)
        return caches

    @property
    def is_clean(self) -> bool:
        self.arena.check()
        return self.arena.free_bytes == self.arena.num_bytes


def use(caches: Caches, num_tokens: int = 40) -> BlockTable:
    """As a sequence that is still running; whatever it has is filled with numbers."""
    table, prompt = BlockTable(), list(range(num_tokens))
    assert caches.manager.reserve(table, prompt)
    caches.manager.commit(table, prompt, num_tokens)
    seed = torch.manual_seed(0)
    for tensor, spans in caches.used_rows():
        for first, last in spans:
            rows = tensor[first:last]
            rows.copy_(torch.randn(rows.shape, generator=seed))
    return table


def contents(caches: Caches) -> list[torch.Tensor]:
    return [tensor[a:b].clone() for tensor, spans in caches.used_rows() for a, b in spans]


def test_what_is_used_comes_back():
    """Blocks and slots, of every kind of layer, with who has them; over other memory, if need be."""
    keeping = Keeping()
    caches = keeping.open(1)
    table = use(caches)
    expected = contents(caches)
    assert keeping.caches.park(1, 1, caches) == []
    keeping.caches.close(1)
    assert keeping.is_clean
    assert keeping.caches.num_models == 1
    assert 0 < keeping.caches.num_bytes < caches.token_bytes + caches.state_bytes

    keeping.open(2)
    again = keeping.open(1, place=1)
    assert again.manager is caches.manager
    assert again.manager.holds(table)
    assert all(map(torch.equal, contents(again), expected))
    assert keeping.caches.num_bytes == 0


def test_what_is_still_to_be_written_is_taken_along():
    """Kernels that were issued and have not run when a model is paused."""
    keeping = Keeping(late_compute=True)
    caches = keeping.open(1)
    use(caches)
    keys = caches.views[0].keys
    with keeping.device.compute_stream():
        keeping.device.copy(keys[0], torch.full_like(keys[0], 7))
    keeping.caches.park(1, 1, caches)
    keeping.caches.close(1)

    again = keeping.open(1, place=1)
    keeping.device.copy_stream().synchronise()
    assert again.views[0].keys[0].unique().tolist() == [7]


@pytest.mark.parametrize("parked_bytes", [0, 2**20])
def test_what_is_not_parked_is_gone(parked_bytes):
    """There is no room for it, or nothing in it that means anything."""
    keeping = Keeping(parked_bytes)
    caches = keeping.open(1)
    if not parked_bytes:
        use(caches)
    keeping.caches.park(1, KEY, caches)
    keeping.caches.close(1)

    assert keeping.is_clean
    assert keeping.caches.num_models == 0
    assert keeping.open(2).manager.is_blank


def test_a_model_that_could_not_be_loaded_leaves_no_memory():
    """Nobody parks its caches."""
    keeping = Keeping()
    keeping.open(1)
    keeping.caches.close(1)
    keeping.caches.close(1)

    assert keeping.is_clean


def test_where_there_is_no_room_what_is_parked_stays():
    """Until there is."""
    keeping = Keeping(num_units=1)
    caches = keeping.open(1)
    use(caches)
    expected = contents(caches)
    keeping.caches.park(1, 1, caches)
    keeping.caches.close(1)
    keeping.open(2)
    with pytest.raises(OutOfDeviceMemory):
        keeping.open(1, place=1)
    keeping.caches.close(2)

    assert all(map(torch.equal, contents(keeping.open(1, place=1)), expected))


def test_caches_that_nobody_wants_any_more_are_not_kept():
    """Whether that is known before they were copied, or after."""
    for known_early in (True, False):
        keeping = Keeping()
        caches = keeping.open(1)
        use(caches)
        keeping.caches.park(1, 1, caches)
        if known_early:
            keeping.caches.forget(1)
        keeping.caches.close(1)
        keeping.caches.forget(1)

        assert keeping.caches.num_models == 0
        assert keeping.is_clean


def test_who_drains_late_is_heard():
    """What was parked for a handle is for the next of its kind."""
    for known_early in (True, False):
        keeping = Keeping()
        caches = keeping.open(1)
        use(caches)
        keeping.caches.park(1, 1, caches)
        if known_early:
            assert keeping.caches.drain(1, KEY) == []
        keeping.caches.close(1)
        if not known_early:
            assert keeping.caches.drain(1, KEY) == []

        assert keeping.open(2).manager is caches.manager


def test_a_copy_that_fails_loses_the_caches_alone():
    """The device has its memory back."""
    keeping = Keeping(fails_at_copy=2)
    caches = keeping.open(1)
    use(caches)
    keeping.caches.park(1, KEY, caches)
    keeping.caches.close(1)

    assert keeping.caches.num_models == 0
    assert keeping.is_clean


def test_memory_is_not_given_away_while_caches_come_back_to_it():
    """Their model could not be loaded after all."""
    keeping = Keeping(num_units=1)
    caches = keeping.open(1)
    use(caches)
    keeping.caches.park(1, 1, caches)
    keeping.caches.close(1)
    keeping.caches.open(1, 1, KEY, SPECS)
    keeping.caches.close(1)

    other = keeping.open(2)
    for view in other.views:
        for tensor in view.tensors:
            tensor.fill_(9)
    keeping.device.copy_stream().synchronise()
    assert all(bool((tensor == 9).all()) for view in other.views for tensor in view.tensors)
