import pytest
import torch
from transformers import Gemma3Config, Gemma3ForConditionalGeneration

from engine.cache.spec import KV
from engine.models.gemma3 import Config, build
from engine.nn.rope_scaling import RopeParameters
from tests.engine.batches import logprobs_of

SIZES = {
    "vocab_size": 32,
    "hidden_size": 48,
    "intermediate_size": 24,
    "num_hidden_layers": 7,
    "num_attention_heads": 4,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-6,
    "sliding_window": 16,
    "rope_parameters": {
        "full_attention": RopeParameters(rope_theta=1e6),
        "sliding_attention": RopeParameters(rope_theta=1e4),
    },
}


def windows(config: Config) -> list[int | None]:
    return [spec.window for spec in build(config).cache_specs if isinstance(spec, KV)]


def test_five_slide_and_the_sixth_sees_everything():
    """The published pattern, where a file says nothing."""
    assert windows(Config(**SIZES)) == [16, 16, 16, 16, 16, None, 16]


@pytest.mark.parametrize(
    "pattern",
    [
        {"layer_types": ("full_attention",) + ("sliding_attention",) * 6},
        {"sliding_window_pattern": (False,) + (True,) * 6},
    ],
)
def test_a_pattern_in_the_file_wins(pattern):
    """By layer types or, in GGUF, by a list of booleans."""
    assert windows(Config(**SIZES | pattern)) == [None, *[16] * 6]


def test_a_pattern_of_another_length_is_refused():
    """One entry a layer."""
    with pytest.raises(ValueError, match="2 layer types, 7 layers"):
        Config(**SIZES, layer_types=("full_attention",) * 2)


def test_the_scale_is_the_files_or_follows_from_the_size():
    """query_pre_attn_scalar; in GGUF head_dim, but of the 27B (62 layers) hidden_size / heads."""
    assert Config(**SIZES, query_pre_attn_scalar=20).query_pre_attn_scalar == 20
    assert Config(**SIZES).query_pre_attn_scalar == 8
    assert Config(**SIZES | {"num_hidden_layers": 62}).query_pre_attn_scalar == 12


def test_the_text_model_of_a_vision_checkpoint_is_served(tmp_path, load_model):
    """A wrapper with a vision tower, as transformers writes one, gives the text model's logits."""
    model = vision_model()
    model.save_pretrained(tmp_path)
    tokens = [7 * position % 32 for position in range(40)]
    with torch.no_grad():
        expected = model(torch.tensor([tokens])).logits[0].log_softmax(-1)

    found = logprobs_of(load_model(tmp_path, "dense", torch.float32), tokens)

    assert torch.allclose(found, expected, rtol=0, atol=1e-4)


def vision_model() -> Gemma3ForConditionalGeneration:
    vision = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
    }
    text = {key: value for key, value in SIZES.items() if key != "rope_parameters"}
    config = Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4)
    torch.manual_seed(3)
    model = Gemma3ForConditionalGeneration(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(std=0.3)
    return model
