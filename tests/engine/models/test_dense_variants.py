"""Settings of the dense families that no fixture has, against transformers from a seed."""

import pytest
import torch
from transformers import (
    Exaone4Config,
    Exaone4ForCausalLM,
    Glm4Config,
    Glm4ForCausalLM,
    HunYuanDenseV1Config,
    HunYuanDenseV1ForCausalLM,
    Ministral3Config,
    Ministral3ForCausalLM,
    Olmo3Config,
    Olmo3ForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    SeedOssConfig,
    SeedOssForCausalLM,
    SmolLM3Config,
    SmolLM3ForCausalLM,
)

from tests.engine.fixture_models import write_hf
from tests.engine.made_models import SIZES, config_of, make, ours, theirs, write

YARN = {
    "rope_type": "yarn",
    "rope_theta": 1e4,
    "factor": 4.0,
    "original_max_position_embeddings": 8,
    "mscale": 1.0,
    "mscale_all_dim": 1.0,
}
LATE_WINDOW = {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 2}

MADE = {
    "exaone4, full layers without rope": (
        Exaone4ForCausalLM,
        Exaone4Config(**SIZES, sliding_window=5, sliding_window_pattern=4),
    ),
    "qwen2, a window on later layers": (Qwen2ForCausalLM, Qwen2Config(**SIZES, **LATE_WINDOW)),
    "qwen3, biases and a window": (
        Qwen3ForCausalLM,
        Qwen3Config(**SIZES, **LATE_WINDOW, attention_bias=True),
    ),
    "smollm3, other layers without rope": (
        SmolLM3ForCausalLM,
        SmolLM3Config(**SIZES, no_rope_layers=[0, 1, 0, 1]),
    ),
    "olmo3, the pattern it assumes": (Olmo3ForCausalLM, Olmo3Config(**SIZES, sliding_window=5)),
    "seed_oss, a bias on the output": (
        SeedOssForCausalLM,
        SeedOssConfig(**SIZES, attention_bias=True, attention_out_bias=True, mlp_bias=True),
    ),
    "hunyuan, no stretched base": (HunYuanDenseV1ForCausalLM, HunYuanDenseV1Config(**SIZES)),
    "glm4, all of a head turned": (
        Glm4ForCausalLM,
        Glm4Config(**SIZES, partial_rotary_factor=1.0, attention_bias=False),
    ),
    "ministral3, a window": (
        Ministral3ForCausalLM,
        Ministral3Config(
            **SIZES, sliding_window=5, rope_parameters=YARN | {"llama_4_scaling_beta": 0.2}
        ),
    ),
}


@pytest.mark.parametrize("name", MADE)
def test_every_setting_computes_what_transformers_does(name, tmp_path):
    """Keys as transformers 5 writes them, values that change the computation."""
    model = make(*MADE[name])

    assert torch.allclose(ours(write(tmp_path, model)), theirs(model), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("model_prefix", "head_prefix"),
    [("language_model.model.", "language_model."), ("model.language_model.", "")],
)
def test_the_text_model_of_a_vision_wrapper_is_run(tmp_path, model_prefix, head_prefix):
    """Mistral Small 3.1 and Ministral 3 are published inside one, with either set of prefixes."""
    model = make(*MADE["ministral3, a window"])
    tensors = {
        name.replace("model.", model_prefix) if name.startswith("model.") else head_prefix + name: t
        for name, t in model.state_dict().items()
    }
    eyes = {"vision_tower.patch_conv.weight": torch.zeros(2, 2)}
    config = {
        "architectures": ["Mistral3ForConditionalGeneration"],
        "model_type": "mistral3",
        "text_config": config_of(model),
    }

    path = write_hf(tmp_path, config, tensors | eyes)
    assert torch.allclose(ours(path), theirs(model), rtol=0, atol=1e-4)
