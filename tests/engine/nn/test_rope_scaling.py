"""Frequencies against those of transformers."""

import msgspec
import pytest
import torch
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from engine.nn.rope_scaling import RopeParameters, frequencies

DIM, MAX_POSITIONS = 64, 4096
YARN = {"rope_type": "yarn", "rope_theta": 1e6, "factor": 4.0}

ROPES = {
    "linear": {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.5},
    "dynamic": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 3.0},
    "llama3": {
        "rope_type": "llama3",
        "rope_theta": 5e5,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 512,
    },
    "yarn": YARN | {"original_max_position_embeddings": 1024},
    "yarn, untruncated": YARN | {"original_max_position_embeddings": 1024, "truncate": False},
    "yarn, betas": YARN | {"original_max_position_embeddings": 1024, "beta_fast": 16.0, "beta_slow": 2.0},
    "yarn, mscale": YARN | {"original_max_position_embeddings": 1024, "mscale": 0.7, "mscale_all_dim": 1.2},
    "yarn, explicit": YARN | {"original_max_position_embeddings": 1024, "attention_factor": 1.3},
}  # fmt: skip


@pytest.mark.parametrize("name", ROPES)
@pytest.mark.parametrize("length", [None, 3 * MAX_POSITIONS])
def test_frequencies_are_those_of_transformers(name, length):
    """Every kind of scaling, within the model's length and (dynamic) beyond it."""
    config = LlamaConfig(
        hidden_size=DIM,
        num_attention_heads=1,
        max_position_embeddings=MAX_POSITIONS,
        rope_parameters=dict(ROPES[name]),
    )
    compute = ROPE_INIT_FUNCTIONS[ROPES[name]["rope_type"]]
    expected, factor = compute(config, torch.device("cpu"), seq_len=length)
    found = frequencies(RopeParameters(**ROPES[name]), DIM, MAX_POSITIONS, length)

    assert torch.allclose(torch.tensor(found.inv_freq), expected, rtol=1e-5, atol=0)
    assert found.attention_factor == pytest.approx(factor)


def test_plain_frequencies_fall_geometrically():
    """base^(-2i/r), as in the paper."""
    found = frequencies(RopeParameters(rope_theta=100.0), 4, 16)

    assert found.inv_freq == pytest.approx((1.0, 0.1))
    assert found.attention_factor == 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rope_theta": 0.5}, "rope_theta"),
        ({"rope_theta": float("nan")}, "rope_theta"),
        ({"rope_theta": 1e4, "rope_type": "linear"}, "needs a factor"),
        ({"rope_theta": 1e4, "rope_type": "linear", "factor": 0.0}, "factor"),
        ({"rope_theta": 1e4, "rope_type": "longrope"}, "longrope"),
        ({"rope_theta": 1e4, "long_factor": [1.0]}, "long_factor"),
        (
            {"rope_theta": 1e4, "rope_type": "llama3", "factor": 2.0, "high_freq_factor": 1.0},
            "high_freq_factor",
        ),
    ],
)
def test_senseless_parameters_are_refused(given, message):
    """Values that would divide by zero, and words we do not know, are named."""
    with pytest.raises(msgspec.ValidationError, match=message):
        msgspec.convert(given, RopeParameters)
