from pathlib import Path

import pytest
import torch

from engine.cache.views import CacheSize, allocate
from engine.checkpoint import open_checkpoint
from engine.core.programs import ProgrammedModel
from engine.kernels.cpu.library import is_available
from engine.kernels.pages import zero_pages
from engine.models.blueprint import blueprint
from engine.models.card import tape_of
from engine.residency.image import open_image
from engine.residency.image_store import ImageStore
from tests.engine.batches import Sequences
from tests.engine.residency.images import QUANTISED

pytestmark = pytest.mark.skipif(not is_available(), reason="the native library is not built")


@pytest.fixture
def load(tmp_path: Path):
    """Loads a model and its recording; another load is of the same image at another place."""
    with open_checkpoint(QUANTISED) as checkpoint:
        tape = tape_of(blueprint(checkpoint).model, torch.float32)

    def loaded():
        with open_checkpoint(QUANTISED) as checkpoint:
            model, _ = open_image(checkpoint, torch.float32, ImageStore(tmp_path))
        return model, tape

    return loaded


def test_what_was_compiled_is_used_again(load):
    """By the next load, whose weights and caches lie elsewhere: it computes the same."""
    results = []
    for _ in range(2):
        model, tape = load()
        sequences = Sequences(model, 1, 8)
        programmed = ProgrammedModel(model, tape, sequences.caches)
        results.append(
            programmed.forward(sequences.batch({0: [1, 2, 3]}), sequences.caches).clone()
        )
        (listing,) = tape.compiled.values()
        results.append(listing)

    assert torch.equal(results[0], results[2])
    assert results[1] is results[3]


def test_caches_of_another_size_are_compiled_anew(load):
    """Their rows are part of a program; only the last one is kept."""
    model, tape = load()
    sizes = [CacheSize(num_blocks, 16, 0) for num_blocks in (4, 5)]
    listings = []
    for size in sizes:
        ProgrammedModel(model, tape, [allocate(s, size, torch.float32) for s in model.cache_specs])
        listings += tape.compiled.values()

    assert listings[0] is not listings[1]
    assert len(tape.compiled) == 1


def test_pages_are_zeros_that_may_be_written():
    """And none are given for nothing."""
    pages = zero_pages(10_000)
    pages[9_999] = 7

    assert int(pages.sum()) == 7
    assert zero_pages(0).shape == (0,)
