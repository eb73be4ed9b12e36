import pytest
import torch

from engine.kernels import ops
from engine.kernels.trace import UnrecordableError
from engine.models.llama import Config, build
from engine.nn.recording import record
from engine.nn.rope_scaling import RopeParameters

TINY = Config(
    vocab_size=32,
    hidden_size=16,
    intermediate_size=24,
    num_hidden_layers=2,
    num_attention_heads=2,
    max_position_embeddings=64,
    rms_norm_eps=1e-5,
    rope_parameters={"full_attention": RopeParameters(rope_theta=1e4)},
)


def test_a_recording_names_what_flows_where():
    """Inputs are a batch's tensors, caches and parameters by path; results are numbered."""
    tape = record(build(TINY), 5, torch.bfloat16)
    first, second, *_ = tape.calls

    assert (first.op, first.inputs) == ("embedding", ("token_ids", "model.embed_tokens.weight"))
    assert second.inputs == (first.output, "model.layers.0.input_layernorm.weight")
    assert tape.calls[-1].op == "logits"
    writes = [call.inputs[2:4] for call in tape.calls if call.op == "cache_write"]
    assert writes == [(f"cache.{i}.keys", f"cache.{i}.values") for i in range(2)]


def test_layers_share_one_rope_table():
    """Angles are computed once a forward, not once a layer."""
    tape = record(build(TINY), 5, torch.float32)

    assert [call.op for call in tape.calls].count("rope_table") == 1


@pytest.mark.parametrize(
    "mlp",
    [
        lambda x: x * 2,
        lambda x: torch.zeros(5, 16),
        torch.nn.functional.silu,
        lambda x: ops.add(x, x) if x[0, 0] > 0 else x,
        lambda x: x[:, :16],
    ],
)
def test_a_block_that_bypasses_the_ops_is_caught(mlp):
    """Torch arithmetic or a branch on data in a forward cannot be recorded."""
    model = build(TINY)
    model.model.layers[1].mlp = mlp

    with pytest.raises(UnrecordableError):
        record(model, 5, torch.float32)
