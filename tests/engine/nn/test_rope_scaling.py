"""Frequencies against those of transformers."""

import math

import msgspec
import pytest
import torch
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from engine.nn.rope_scaling import RopeParameters, frequencies, yarn_score_factor

DIM, MAX_POSITIONS = 64, 4096
YARN = {"rope_type": "yarn", "rope_theta": 1e6, "factor": 4.0}
LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 1e4,
    "original_max_position_embeddings": 1024,
    "short_factor": [1 + i / 32 for i in range(DIM // 2)],
    "long_factor": [1 + i / 4 for i in range(DIM // 2)],
}

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
    "longrope": LONGROPE,
    "longrope, factor": LONGROPE | {"factor": 2.0},
    "longrope, explicit": LONGROPE | {"attention_factor": 1.3},
    "proportional": {"rope_type": "proportional", "rope_theta": 1e6, "partial_rotary_factor": 0.25},
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


def test_hunyuans_alpha_grows_the_base_whatever_the_length():
    """The rope is called dynamic and is not: its base is theta * alpha^(r / (r - 2))."""
    rope = RopeParameters(rope_theta=1e4, rope_type="dynamic", factor=1.0, alpha=50.0)
    grown = RopeParameters(rope_theta=1e4 * 50.0 ** (DIM / (DIM - 2)))

    for length in (None, 3 * MAX_POSITIONS):
        assert frequencies(rope, DIM, MAX_POSITIONS, length).inv_freq == pytest.approx(
            frequencies(grown, DIM, MAX_POSITIONS).inv_freq
        )


def test_plain_frequencies_fall_geometrically():
    """base^(-2i/r), as in the paper."""
    found = frequencies(RopeParameters(rope_theta=100.0), 4, 16)

    assert found.inv_freq == pytest.approx((1.0, 0.1))
    assert found.attention_factor == 1


def test_yarn_scales_scores_where_it_leaves_cosines():
    """mscale_all_dim, squared: once for queries and once for keys."""
    rope = RopeParameters(1e4, "yarn", factor=40.0, mscale=0.707, mscale_all_dim=0.707)

    assert frequencies(rope, 8, 2048).attention_factor == 1
    assert yarn_score_factor(rope) == pytest.approx((0.0707 * math.log(40) + 1) ** 2)
    assert yarn_score_factor(RopeParameters(1e4, "yarn", factor=40.0)) == 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rope_theta": 0.5}, "rope_theta"),
        ({"rope_theta": float("nan")}, "rope_theta"),
        ({"rope_theta": 1e4, "rope_type": "linear"}, "needs a factor"),
        ({"rope_theta": 1e4, "rope_type": "linear", "factor": 0.0}, "factor"),
        ({"rope_theta": 1e4, "rope_type": "mrope"}, "mrope"),
        ({"rope_theta": 1e4, "mrope_section": [1.0]}, "mrope_section"),
        ({"rope_theta": 1e4, "partial_rotary_factor": 1.5}, "partial_rotary_factor"),
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
