"""What a file may say of layers of several kinds, and what is refused of it."""

from typing import Any

import pytest

from engine.models.hybrid import HybridConfig, moved, one_value
from engine.models.names import Name
from engine.nn.rope_scaling import RopeParameters


def config(**settings: Any) -> HybridConfig:
    sizes = {"vocab_size": 9, "hidden_size": 16, "intermediate_size": 8, "num_hidden_layers": 3}
    rope = {"full_attention": RopeParameters(10000.0)}
    common = {"max_position_embeddings": 64, "rms_norm_eps": 1e-6, "rope_parameters": rope}
    return HybridConfig(**sizes, **common, num_attention_heads=4, **settings)


def attending(c: HybridConfig) -> list[int]:
    return [layer for layer in range(3) if c.attends(layer)]


def test_gguf_has_a_number_of_heads_for_each_layer():
    """0 marks the layers that do not attend; the others agree on how many."""
    c = config(kv_heads=(0, 2, 0))

    assert attending(c) == [1]
    assert c.num_key_value_heads == 2


def test_one_number_stands_for_all_layers():
    """Lists whose entries agree come as one value."""
    assert attending(config(kv_heads=2)) == [0, 1, 2]
    assert attending(config(kv_heads=0)) == []


def test_hugging_face_names_types():
    """In transformers' words, and in those of older files."""
    assert attending(config(layer_types=("mamba", "attention", "linear_attention"))) == [1]
    assert attending(config(layer_types=("conv", "conv", "full_attention"))) == [2]
    assert attending(config()) == [0, 1, 2]


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"kv_heads": (0, 2)}, "2 layer types, 3 layers"),
        ({"layer_types": ("mamba",)}, "1 layer types, 3 layers"),
        ({"kv_heads": (1, 2, 0)}, "head_count_kv of"),
    ],
)
def test_what_does_not_fit_is_refused(settings, complaint):
    """Lists of another length, and layers that disagree."""
    with pytest.raises(ValueError, match=complaint):
        config(**settings)


def test_the_one_value_of_some_layers():
    """Layers without any do not count."""
    assert one_value("key", (0, 7, 7, 0)) == 7
    assert one_value("key", 7) == 7
    assert one_value("key", (0, 0)) == 0


def test_names_of_a_block_that_stands_elsewhere():
    """What Hugging Face has at one path stands at another here, and keeps its names."""
    names = moved(
        {"layers.mamba.D": "ssm_d", "layers.mamba.A": Name("a", hf="A_log")}, "mamba", "x"
    )

    assert names == {
        "layers.x.D": Name("ssm_d", hf="layers.mamba.D"),
        "layers.x.A": Name("a", hf="A_log"),
    }
