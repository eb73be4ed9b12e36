import gc

import pytest
import torch

from engine.checkpoint import open_checkpoint
from engine.kernels.weight import DENSE, Weight
from engine.nn.module import parameters
from engine.residency.loader import LoadCancelled, load
from tests.engine.batches import logprobs_of
from tests.engine.fixture_models import COMMITTED

QUANTISED = COMMITTED / "llama-q/llama-q-Q4_K_M.gguf"


def weights_of(model) -> dict[str, Weight]:
    values = {parameter.path: parameter.get() for parameter in parameters(model)}
    return {path: value for path, value in values.items() if isinstance(value, Weight)}


def loaded(path, form, dtype=torch.float32):
    with open_checkpoint(path) as checkpoint:
        return load(checkpoint, form, dtype, lambda _: None, lambda: False)


def test_progress_ends_at_one():
    """Fractions of bytes grow and end with all of them."""
    seen: list[float] = []
    with open_checkpoint(QUANTISED) as checkpoint:
        load(checkpoint, "dense", torch.float32, seen.append, lambda: False)

    assert seen == sorted(seen)
    assert seen[-1] == 1


def test_a_load_can_be_cancelled_between_tensors():
    """It stops where it is."""
    seen: list[float] = []
    with open_checkpoint(QUANTISED) as checkpoint, pytest.raises(LoadCancelled):
        load(checkpoint, "dense", torch.float32, seen.append, lambda: len(seen) == 3)

    assert len(seen) == 3


def test_dense_weights_are_in_the_dtype_that_computes():
    """Everything unpacked; norms stay in float32."""
    model = loaded(QUANTISED, "dense", torch.bfloat16)

    assert {weight.format for weight in weights_of(model).values()} == {DENSE}
    assert {weight.data.dtype for weight in weights_of(model).values()} == {torch.bfloat16}
    assert model.model.norm.weight.dtype == torch.float32


def test_packed_weights_keep_their_formats():
    """As in the file, several formats side by side."""
    formats = {
        path: weight.format for path, weight in weights_of(loaded(QUANTISED, "packed")).items()
    }

    assert formats["model.layers.0.self_attn.q_proj.weight"] == "Q4_K"
    assert formats["lm_head.weight"] == "Q6_K"


def test_both_forms_hold_the_same_values():
    """Bit for bit in float32."""
    prompt = list(range(20))

    dense, packed = (logprobs_of(loaded(QUANTISED, form), prompt) for form in ("dense", "packed"))
    assert torch.allclose(dense, packed, rtol=0, atol=1e-5)


def test_a_model_outlives_its_checkpoint():
    """Packed weights are views of the mapped file, which stays mapped as long as they live."""
    model = loaded(QUANTISED, "packed")
    gc.collect()

    assert torch.isfinite(logprobs_of(model, [1, 2, 3])).all()


def test_tied_heads_share_one_weight():
    """The vocabulary's matrix is in memory once."""
    model = loaded(COMMITTED / "gemma3-swa/hf", "dense")

    assert "lm_head.weight" not in weights_of(model)
    assert model.lm_head(model.model.embed_tokens(torch.tensor([5]))).shape == (1, 368)
