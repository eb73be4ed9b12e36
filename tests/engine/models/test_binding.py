import numpy as np
import pytest
import torch

from engine.checkpoint import CheckpointError, open_checkpoint
from engine.models.blueprint import blueprint
from tests.engine.batches import logprobs_of
from tests.engine.fixture_models import COMMITTED, gguf_copy, gguf_fused, hf_copy

Q_PROJ = "model.layers.1.self_attn.q_proj.weight"


def plan_of(path):
    with open_checkpoint(path) as checkpoint:
        return blueprint(checkpoint)


def test_a_missing_tensor_is_named(tmp_path):
    """In the words of the file's own format."""
    with pytest.raises(CheckpointError, match=Q_PROJ):
        plan_of(hf_copy(tmp_path / "hf", "llama-bf16", tensors={Q_PROJ: None}))
    left_out = frozenset({"blk.1.attn_q.weight"})
    with pytest.raises(CheckpointError, match=r"blk\.1\.attn_q\.weight"):
        plan_of(gguf_copy(tmp_path / "m.gguf", "llama-plain", leave_out=left_out))


@pytest.mark.parametrize(
    ("name", "shape"),
    [(Q_PROJ, (64, 32)), (Q_PROJ, (64 * 64,)), ("model.embed_tokens.weight", (367, 64))],
)
def test_a_wrong_shape_is_named(tmp_path, name, shape):
    """Matrices that the config does not describe, a shorter vocabulary among them."""
    path = hf_copy(tmp_path, "llama-bf16", tensors={name: torch.zeros(shape)})
    with pytest.raises(CheckpointError, match=f"{name}.*shape"):
        plan_of(path)


def test_an_unknown_format_is_named(tmp_path):
    """Weights in a type that we cannot unpack are refused by that name."""
    path = hf_copy(tmp_path, "llama-bf16", tensors={Q_PROJ: torch.zeros(64, 64, dtype=torch.int32)})
    with pytest.raises(Exception, match="I32"):
        plan_of(path)


def test_a_tensor_without_use_is_an_error(tmp_path):
    """A bias that the config denies would change the computation: not passed over."""
    bias = "model.layers.0.self_attn.q_proj.bias"
    path = hf_copy(tmp_path, "llama-bf16", tensors={bias: torch.zeros(64)})
    with pytest.raises(CheckpointError, match=bias):
        plan_of(path)


def test_leftovers_that_do_not_matter_are_passed_over(tmp_path):
    """Old rotary tables, and a second copy of a tied head."""
    leftovers = {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(8)}
    assert plan_of(hf_copy(tmp_path / "a", "llama-bf16", tensors=leftovers))
    head = {"lm_head.weight": torch.zeros(368, 48)}
    assert plan_of(hf_copy(tmp_path / "b", "gemma3-swa", tensors=head))


def test_only_what_is_smaller_stays_packed():
    """Packed form never takes more than dense form."""
    plan = plan_of(COMMITTED / "llama-plain/llama-plain-F32.gguf")

    assert not any(binding.stays_packed("packed", torch.bfloat16) for binding in plan.bindings)
    quantised = plan_of(COMMITTED / "llama-q/llama-q-Q4_0.gguf")
    packed = {
        binding.parameter.path
        for binding in quantised.bindings
        if binding.stays_packed("packed", torch.bfloat16)
    }
    assert "model.layers.0.self_attn.q_proj.weight" in packed
    assert "model.norm.weight" not in packed


@pytest.mark.parametrize("form", ["dense", "packed"])
@pytest.mark.parametrize("name", ["llama-bias/llama-bias-BF16", "llama-q/llama-q-Q4_0"])
def test_fused_matrices_are_split_as_they_are_loaded(tmp_path, load_model, name, form):
    """Biases, permuted rows and packed rows included: the model is the same, bit for bit."""
    source, prompt = COMMITTED / f"{name}.gguf", list(range(20))
    apart = load_model(source, form, torch.float32)
    fused = load_model(gguf_fused(tmp_path / "m.gguf", source), form, torch.float32)

    assert torch.equal(logprobs_of(fused, prompt), logprobs_of(apart, prompt))
    assert fused.weights_bytes == apart.weights_bytes


def test_a_fused_matrix_with_rows_too_many_is_named(tmp_path):
    """What is left over of a stored matrix is not passed over."""
    left_out = frozenset(f"blk.1.attn_{part}.weight" for part in "qkv")
    rows = {"blk.1.attn_qkv.weight": np.zeros((64 + 2 * 32 + 1, 64), np.float32)}
    path = gguf_copy(tmp_path / "m.gguf", "llama-plain", leave_out=left_out, tensors=rows)
    with pytest.raises(CheckpointError, match=r"blk\.1\.attn_qkv\.weight.*shape"):
        plan_of(path)
