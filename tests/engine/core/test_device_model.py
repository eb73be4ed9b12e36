"""A model on an accelerator: decode batches are filled up, captured, replayed, and come out the same."""

from dataclasses import replace

import pytest
import torch
from transformers import BertConfig, BertModel

from engine.core.device_graphs import graphs_of
from engine.devices import DeviceLost
from engine.kernels.batch import ForwardBatch
from engine.kernels.replay.graphs import CAPTURED_AT
from fake_device import FakeDevice, FakeGraph
from tests.engine.batches import Sequences
from tests.engine.core.on_device import Loaded, as_decode, loaded
from tests.engine.core.test_recurrent import MADE
from tests.engine.fixture_models import COMMITTED
from tests.engine.made_models import make, write
from tests.engine.models.test_bert import BERT, TEXTS, modules
from tests.engine.vectors import embed, resident_of

SIZES = (1, 3, 9)
ALL_SIZES = (2, 4, 7, 8, 16, 17, 24, 25, 33, 49, 64)
SAME = 1e-4
"""A matrix rounds a row otherwise beside others."""


@pytest.fixture(scope="module", params=["llama-plain", "deepseek2-lite", "gptoss-mxfp4", *MADE])
def model(request, tmp_path_factory) -> Loaded:
    name = request.param
    if name in MADE:
        return loaded(write(tmp_path_factory.mktemp(name) / "hf", MADE[name]()))
    return loaded(COMMITTED / name / "hf")


@pytest.fixture
def llama() -> Loaded:
    return loaded(COMMITTED / "llama-plain/hf")


class Both:
    """Sequences that a model runs as it is and on a device, each over caches of its own."""

    def __init__(self, model: Loaded, count: int, accelerator: FakeDevice) -> None:
        self.sequences = Sequences(model.model, count, 32)
        twin = Sequences(model.model, count, 32)
        self._model, self._caches = model.model, twin.caches
        self.device = model.on(twin.caches, accelerator)

    def step(self, batch: ForwardBatch) -> float:
        """How far apart logits are; what is left in the caches must be equally near."""
        found = self.device.forward(batch, self._caches)
        expected = self._model.forward(batch, self.sequences.caches)
        assert found.shape == expected.shape
        for mine, theirs in zip(self.sequences.caches, self._caches, strict=True):
            for one, other in zip(mine.tensors, theirs.tensors, strict=True):
                torch.testing.assert_close(other, one, rtol=0, atol=SAME, equal_nan=True)
        return float((found - expected).abs().max())


@pytest.mark.parametrize("count", SIZES)
def test_batches_of_every_size_are_filled_up_rightly(model, count):
    """Rows that are none change no logits, and write nothing: caches hold what they held."""
    check_size(model, count)


@pytest.mark.parametrize("count", ALL_SIZES)
def test_so_are_all_sizes_that_there_are(llama, count):
    """On either side of each shape's rows."""
    check_size(llama, count)


def check_size(model: Loaded, count: int) -> None:
    both = Both(model, count, FakeDevice())
    prompts = {
        index: [(7 * index + at) % 90 for at in range(1 + index % 3)] for index in range(count)
    }
    assert both.step(both.sequences.batch(prompts)) <= SAME
    for turn in range(CAPTURED_AT + 2):
        tokens = {index: [(index + 13 * turn) % 90] for index in range(count)}

        assert both.step(as_decode(both.sequences.batch(tokens))) <= SAME


def decodes(both: Both, times: int, count: int = 2) -> None:
    for turn in range(times):
        tokens = {index: [(index + turn) % 90] for index in range(count)}
        assert both.step(as_decode(both.sequences.batch(tokens))) <= SAME


class Counting(FakeDevice):
    """Counts captures and replays; fails to capture if told so."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.captures = self.replays = 0
        self.error: Exception | None = None

    def capture(self, run) -> FakeGraph:
        self.captures += 1
        if self.error:
            raise self.error

        def counted() -> None:
            self.replays += 1
            run()

        return super().capture(counted)


def test_graphs_are_captured_at_the_third_use_and_replayed(llama):
    """Prompts never are."""
    device = Counting()
    both = Both(llama, 2, device)
    both.step(both.sequences.batch({0: [1, 2, 3], 1: [4]}))
    decodes(both, 2)
    assert (device.captures, device.replays) == (0, 0)
    decodes(both, 4)

    assert (device.captures, device.replays) == (1, 4)


def test_an_idle_moment_captures_what_has_come_up(llama):
    """The largest first; and nothing more, once all has its graph."""
    device = Counting()
    both = Both(llama, 5, device)
    decodes(both, 1, count=1)
    decodes(both, 1, count=5)

    assert [both.device.prepare() for _ in range(3)] == [True, True, False]
    assert (device.captures, device.replays) == (2, 0)
    decodes(both, 1, count=5)
    decodes(both, 1, count=1)
    assert device.replays == 2


def test_a_model_that_comes_back_to_its_place_finds_its_graphs(llama):
    """One that is put elsewhere does not, and the others are gone."""
    device = Counting()
    both = Both(llama, 2, device)
    decodes(both, 3)
    both.device = llama.on(both._caches, device)
    decodes(both, 1)
    assert (device.captures, device.replays) == (1, 2)

    moved = Both(llama, 2, device)
    decodes(moved, 2)
    assert (device.captures, device.replays) == (1, 2)
    assert graphs_of(device).num_graphs == 0


def test_what_cannot_be_captured_runs_all_the_same(llama, capsys):
    """That is said once."""
    device = Counting()
    device.error = RuntimeError("CUDA error: operation not permitted when stream is capturing")
    both = Both(llama, 5, device)
    decodes(both, 6, count=2)
    decodes(both, 6, count=5)

    assert device.captures == 2
    assert capsys.readouterr().out.count("graph_not_captured") == 1


def test_a_lost_device_is_not_taken_for_a_graph_that_failed(llama):
    device = Counting()
    device.error = DeviceLost("an illegal memory access was encountered")
    both = Both(llama, 1, device)
    decodes(both, 2, count=1)

    with pytest.raises(DeviceLost):
        decodes(both, 1, count=1)


def test_prompts_and_batches_beside_them_run_as_they_are(llama):
    """A chunk of a prompt whose logits nobody wants gives none."""
    device = Counting()
    both = Both(llama, 2, device)
    batch = both.sequences.batch({0: [1, 2, 3], 1: [4]})
    batch = replace(batch, logit_rows=torch.empty(0, dtype=torch.int64))

    logits = both.device.forward(batch, both._caches)

    assert logits.shape == (0, llama.model.vocab_size)
    for _ in range(4):
        decodes_beside = both.sequences.batch({0: [5], 1: [6, 7]})
        assert both.device.forward(decodes_beside, both._caches).shape[0] == 3
    assert device.captures == 0


def test_tokens_that_were_drawn_there_are_found_there(llama):
    """In prompts and in graphs."""
    both = Both(llama, 2, FakeDevice())
    both.device.drawn[:3] = torch.tensor([50, -1, 40])
    given = {0: [1, -1], 1: [-3]}
    meant = {0: [1, 50], 1: [40]}
    for turn in range(CAPTURED_AT + 2):
        batch = both.sequences.batch(given)
        if turn:
            batch = as_decode(batch)
        found = both.device.forward(batch, both._caches)
        known = torch.tensor([token for tokens in meant.values() for token in tokens])
        expected = llama.model.forward(replace(batch, token_ids=known), both.sequences.caches)
        assert (found - expected).abs().max() <= SAME
        given, meant = {0: [-3], 1: [-1]}, {0: [40], 1: [50]}


def test_texts_that_are_read_at_once_go_there_and_vectors_come_back(tmp_path):
    """Segments and all; in one step, without a graph."""
    folder = modules(write(tmp_path / "hf", make(BertModel, BertConfig(**BERT))))

    found = embed(loaded(folder).resident(), TEXTS)

    assert torch.equal(found, embed(resident_of(folder), TEXTS))
