from dataclasses import replace

import pytest
import torch

from engine.cache.spec import KV
from tests.engine.batches import Sequences


def test_caches_are_declared_in_order_of_layers(tiny_llama):
    """One spec per layer: what the cache manager allocates."""
    assert tiny_llama.cache_specs == (KV(2, 16), KV(2, 16))


@pytest.mark.parametrize("rows", [[], [2], [3, 0]])
def test_only_wanted_rows_have_logits(tiny_llama, rows):
    """Logits come for logit_rows, in their order; a chunk inside a prompt wants none."""
    everything = Sequences(tiny_llama, 1, 4)
    expected = tiny_llama.forward(everything.batch({0: [1, 2, 3, 4]}), everything.caches)
    some = Sequences(tiny_llama, 1, 4)
    wanted = torch.tensor(rows, dtype=torch.int64)
    batch = replace(some.batch({0: [1, 2, 3, 4]}), logit_rows=wanted)
    logits = tiny_llama.forward(batch, some.caches)

    assert logits.shape == (len(rows), tiny_llama.vocab_size)
    assert torch.allclose(logits, expected[wanted], atol=1e-5)
