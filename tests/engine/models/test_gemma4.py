import pytest
import torch
from transformers import Gemma4Config, Gemma4ForConditionalGeneration

from engine.cache.spec import KV
from engine.models.gemma4 import Config, build
from engine.models.gemma4_config import FullLayerSizes
from engine.nn.rope_scaling import RopeParameters
from tests.engine.batches import logprobs_of

SIZES = {
    "vocab_size": 32,
    "hidden_size": 48,
    "intermediate_size": 24,
    "num_hidden_layers": 8,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "global_head_dim": 16,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-6,
    "sliding_window": 16,
    "sliding_window_pattern": 2,
    "rope_parameters": {
        "full_attention": RopeParameters(
            rope_theta=1e6, rope_type="proportional", partial_rotary_factor=0.25
        ),
        "sliding_attention": RopeParameters(rope_theta=1e4),
    },
}


def test_the_last_layers_read_the_last_cache_of_their_type():
    """Of layers 0..7, the last five borrow: sliding ones from layer 2, full ones from layer 1."""
    config = Config(**SIZES, num_kv_shared_layers=5)

    assert config.cache_owners == [0, 1, 2, 1, 2, 1, 2, 1]
    assert build(config).cache_specs == (KV(2, 8, 16), KV(2, 16, None), KV(2, 8, 16))


def test_sizes_by_layer_become_flags():
    """GGUF's lists say what Hugging Face's flags do."""
    config = Config(
        **SIZES | {"intermediate_size": 0, "num_key_value_heads": 0},
        num_kv_shared_layers=2,
        kv_heads=(2, 1) * 4,
        feed_forward_sizes=(24,) * 6 + (48,) * 2,
        value_layers=(0, 2, 4),
    )

    assert (config.num_key_value_heads, config.num_global_key_value_heads) == (2, 1)
    assert (config.intermediate_size, config.use_double_wide_mlp) == (24, True)
    assert config.attention_k_eq_v


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_kv_shared_layers": 7}, "share caches that none keeps"),
        ({"num_kv_shared_layers": 9}, "share caches that none keeps"),
        ({"enable_moe_block": True}, "0 of 0 experts"),
        ({"intermediate_size": 0}, "intermediate_size"),
        ({"per_layer_config": {"1": FullLayerSizes(head_dim=16)}}, "per_layer_config"),
        ({"has_rope_freqs": False}, "rope_freqs"),
        ({"kv_heads": (2, 1, 2), "feed_forward_sizes": 24}, "3 sizes, 8 layers"),
        ({"kv_heads": (2, 1) * 3 + (4, 1), "feed_forward_sizes": 24}, "heads of keys"),
        ({"kv_heads": (3, 1) * 4, "feed_forward_sizes": 24}, "4 heads, 3 of keys"),
        ({"kv_heads": (0, 1) * 4, "feed_forward_sizes": 24}, "4 heads, 0 of keys"),
        ({"kv_heads": 2, "feed_forward_sizes": (24,) * 7 + (30,)}, "not one size"),
    ],
)
def test_sizes_of_no_sense_are_refused(changes, message):
    """Before anything is built from them."""
    with pytest.raises(ValueError, match=message):
        Config(**SIZES | changes)


def test_the_text_model_of_a_wrapper_is_served(tmp_path, load_model):
    """As transformers writes it, vision tower and all: experts, borrowed caches, both head sizes."""
    model = wrapped_model()
    model.save_pretrained(tmp_path)
    tokens = [7 * position % 32 for position in range(40)]
    with torch.no_grad():
        expected = model.model.language_model(torch.tensor([tokens])).last_hidden_state
        expected = model.lm_head(expected)[0].log_softmax(-1)

    found = logprobs_of(load_model(tmp_path, "dense", torch.float32), tokens)

    assert torch.allclose(found, expected, rtol=0, atol=1e-4)


def wrapped_model() -> Gemma4ForConditionalGeneration:
    left_out = ("rope_parameters", "sliding_window_pattern")
    text = {key: value for key, value in SIZES.items() if key not in left_out}
    text |= {
        "layer_types": ["sliding_attention", "full_attention"] * 4,
        "num_kv_shared_layers": 3,
        "hidden_size_per_layer_input": 8,
        "vocab_size_per_layer_input": 32,
        "use_double_wide_mlp": True,
        "enable_moe_block": True,
        "num_experts": 4,
        "top_k_experts": 2,
        "moe_intermediate_size": 8,
    }
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    vision |= {"num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8}
    config = Gemma4Config(text_config=text, vision_config=vision)
    torch.manual_seed(3)
    model = Gemma4ForConditionalGeneration(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(std=0.3)
    return model
