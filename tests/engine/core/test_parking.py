"""Parked caches: which stay, and that a model finds in them what it left."""

import random
import shutil
from collections.abc import Sequence as Many
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine.api import Sampling
from engine.cache.caches import Caches
from engine.cache.spec import KV
from engine.cache.table import BlockTable
from engine.cache.views import CacheSize, CacheView
from engine.core.opening import cache_size, runnable
from engine.core.parking import CacheKey, Parking, Shelf
from engine.core.resident import BLOCK_SIZE, Resident
from engine.core.runner import LanguageModel
from engine.core.sequence import Sequence
from engine.core.weights import Weights
from engine.kernels.batch import ForwardBatch
from engine.residency.image_store import ImageStore
from tests.engine.core.test_recurrent import MADE
from tests.engine.fixture_models import COMMITTED
from tests.engine.made_models import write

GREEDY = Sampling(temperature=0, logprobs=5)
PROMPT = [(7 * place * place + 3) % 90 for place in range(77)]


def key(name: str) -> CacheKey:
    return CacheKey(name, CacheSize(8, BLOCK_SIZE, 0), torch.float32)


# --- which stay ---------------------------------------------------------------------------------


def test_the_longest_unused_makes_room():
    """Drained caches go in the order in which they came, no more of them than must."""
    shelf = Shelf(100)
    for name in "abc":
        assert shelf.put(key(name), 30) == []

    assert shelf.put(key("d"), 50) == [key("a"), key("b")]
    assert shelf.num_bytes == 80


def test_what_is_taken_back_is_the_newest_again():
    """Use, not age, decides."""
    shelf = Shelf(100)
    shelf.put(key("a"), 50)
    shelf.put(key("b"), 50)
    shelf.take(key("a"))
    shelf.put(key("a"), 50)

    assert shelf.put(key("c"), 50) == [key("b")]


def test_paused_models_come_before_drained_ones():
    """Somebody waits for them; what nobody waits for is thrown out, however new."""
    shelf = Shelf(100)
    shelf.put(1, 60)
    shelf.put(key("a"), 40)

    assert shelf.put(2, 40) == [key("a")]
    assert shelf.put(key("b"), 1) == [key("b")]
    assert shelf.num_bytes == 100


def test_what_cannot_fit_costs_nobody_anything():
    """It is not kept, and everything else is."""
    shelf = Shelf(100)
    shelf.put(key("a"), 40)

    assert shelf.put(1, 101) == [1]
    assert shelf.put(key("b"), 101) == [key("b")]
    assert key("a") in shelf


@pytest.mark.parametrize("seed", range(20))
def test_the_budget_holds_whatever_comes_and_goes(seed):
    """Nothing is over budget, lost or kept twice; a paused one never makes room for another."""
    rng = random.Random(seed)
    shelf, here = Shelf(100), {}
    for number in range(200):
        place = rng.choice([number, key(str(number))])
        here[place] = rng.randint(0, 120)
        thrown_out = shelf.put(place, here[place])
        assert all(each == place or isinstance(each, CacheKey) for each in thrown_out)
        for each in thrown_out:
            del here[each]
        if here and rng.random() < 0.3:
            place = rng.choice(list(here))
            del here[place]
            shelf.take(place)

        assert shelf.num_bytes == sum(here.values()) <= 100
        assert len(shelf) == len(here)


# --- the caches themselves ------------------------------------------------------------------------


def used() -> Caches:
    """One block of two is kept for reuse."""
    caches = Caches.of([KV(1, 8)], CacheSize(2, BLOCK_SIZE, 0), torch.float32)
    table, prompt = BlockTable(), [5] * BLOCK_SIZE
    assert caches.manager.reserve(table, prompt)
    caches.manager.commit(table, prompt, len(prompt))
    caches.manager.release(table)
    return caches


def test_caches_that_hold_nothing_are_not_parked():
    """They would take the place of something."""
    caches = Caches.of([KV(1, 8)], CacheSize(4, BLOCK_SIZE, 0), torch.float32)
    parking = Parking(2**20)

    assert parking.put(1, caches) == [caches]
    assert parking.take(1) is None
    assert (parking.num_models, parking.num_bytes) == (0, 0)


def test_a_place_that_is_taken_gets_the_newer_caches():
    """Two models of one checkpoint leave one cache behind."""
    parking = Parking(2**30)
    first, second = used(), used()
    parking.put(key("a"), first)

    assert parking.put(key("a"), second) == [first]
    assert parking.take(key("a")) is second


# --- what a model finds in them -----------------------------------------------------------------

COMMITTED_ONES = {
    "attention": "llama-plain",
    "window": "gemma2-softcap",
    "latent": "deepseek2-lite",
}


class Listening:
    """A model that remembers the logits it was asked for."""

    def __init__(self, model: LanguageModel) -> None:
        self._model = model
        self.vocab_size, self.length_switch = model.vocab_size, model.length_switch
        self.traits = model.traits
        self.heard: list[Tensor] = []

    def forward(self, batch: ForwardBatch, caches: Many[CacheView]) -> Tensor:
        logits = self._model.forward(batch, caches)
        self.heard.append(logits.clone())
        return logits


class Swapped:
    """A checkpoint that is loaded, run and evicted; only parked caches outlive that."""

    def __init__(self, path: Path, parking: Parking) -> None:
        self._path, self._parking = path, parking
        self._weights = Weights(torch.float32, ImageStore(None), warm_bytes=0)
        self.load()

    def load(self) -> None:
        self._opened = self._weights.open(self._path, "dense")
        specs = self._opened.model.cache_specs
        size = cache_size(specs, 512, 8)
        self._place = CacheKey(self._opened.key, size, torch.float32)
        caches = self._parking.take(self._place) or Caches.of(specs, size, torch.float32)
        self._model = Listening(runnable(self._opened, caches))
        self._resident = Resident(self._model, caches)

    def evict(self) -> None:
        self._parking.put(self._place, self._resident.caches)
        self._weights.close(self._opened)
        del self._resident, self._model, self._opened

    def run(self, salt: bytes = b"") -> tuple[Sequence, Tensor]:
        """A sequence that begins with the prompt, and the logits that its tokens were drawn from."""
        sequence = Sequence(list(PROMPT), 8, GREEDY, table=BlockTable(salt))
        self._resident.scheduler.add(sequence)
        self._model.heard.clear()
        while not self._resident.is_idle:
            self._resident.step(10.0)
        self._resident.scheduler.check()
        return sequence, torch.cat(self._model.heard)


@pytest.fixture(scope="module", params=[*COMMITTED_ONES, *MADE])
def path(request, tmp_path_factory) -> Path:
    if request.param in COMMITTED_ONES:
        return COMMITTED / COMMITTED_ONES[request.param] / "hf"
    return write(tmp_path_factory.mktemp(request.param) / "hf", MADE[request.param]())


def test_a_prefix_survives_the_swap(path):
    """After an eviction, another model and a load, a prompt is found in the cache, as it was left.

    Its logits are, bit for bit, those of a model that was never away and found it there too; and
    those of the first run, which computed the prompt, but for rounding.
    """
    parking = Parking(2**30)
    swapped, stayed = Swapped(path, parking), Swapped(path, Parking(0))
    first, computed = swapped.run()
    swapped.evict()
    Swapped(COMMITTED / "qwen3-dense/hf", parking).evict()
    swapped.load()
    second, found = swapped.run()
    stayed.run()

    assert (first.num_cached, second.num_cached) == (0, 64)
    assert second.token_ids == first.token_ids
    assert torch.equal(found, stayed.run()[1])
    torch.testing.assert_close(found, computed, rtol=0, atol=1e-4)


def test_salts_part_what_was_parked_too(path):
    """What one tenant left is found by nobody else, before and after a swap."""
    swapped = Swapped(path, Parking(2**30))
    swapped.run(b"one")
    swapped.evict()
    swapped.load()

    assert swapped.run(b"two")[0].num_cached == 0
    assert swapped.run(b"one")[0].num_cached == 64


def test_a_changed_checkpoint_finds_nothing(tmp_path):
    """The same headers with other weights compute other keys and values."""
    parking, folder = Parking(2**30), COMMITTED / "llama-plain"
    path = tmp_path / "hf"
    shutil.copytree(folder / "hf", path)
    swapped = Swapped(path, parking)
    swapped.run()
    swapped.evict()
    weights = load_file(path / "model.safetensors")
    name = next(name for name in weights if name.endswith("k_proj.weight"))
    save_file(weights | {name: weights[name] * 2}, path / "model.safetensors")
    swapped.load()

    assert swapped.run()[0].num_cached == 0
