import pytest

from engine.models.exaone4 import Config as ExaoneConfig
from engine.models.olmo2 import Config
from engine.models.qwen2 import Config as QwenConfig
from engine.nn.rope_scaling import RopeParameters

SIZES = {
    "vocab_size": 32,
    "hidden_size": 48,
    "intermediate_size": 24,
    "num_hidden_layers": 5,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-6,
    "rope_parameters": {"full_attention": RopeParameters(rope_theta=1e4)},
}


def windows(config: Config | QwenConfig) -> list[int | None]:
    return [config.window(layer) for layer in range(config.num_hidden_layers)]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, [8, 8, 8, None, 8]),
        ({"sliding_window_pattern": 2}, [8, None, 8, None, 8]),
        ({"sliding_window_pattern": "LG"}, [8, None, 8, None, 8]),
        ({"sliding_window_pattern": (True, False, False, True, True)}, [8, None, None, 8, 8]),
        (
            {"layer_types": ("full_attention",) * 4 + ("sliding_attention",)},
            [None, None, None, None, 8],
        ),
        ({"sliding_window": None}, [None] * 5),
    ],
)
def test_patterns_of_every_kind(given, expected):
    """A period (the family's own by default), letters, flags or types; none without a window."""
    assert windows(Config(**SIZES | {"sliding_window": 8} | given)) == expected


def test_layer_types_win():
    """A file may have both; the newer key decides."""
    types = ("sliding_attention",) * 5
    config = Config(**SIZES, sliding_window=8, sliding_window_pattern=2, layer_types=types)

    assert windows(config) == [8] * 5


@pytest.mark.parametrize("key", ["layer_types", "sliding_window_pattern"])
def test_one_entry_a_layer(key):
    """A list of another length is refused."""
    entries = {"layer_types": ("full_attention",) * 3, "sliding_window_pattern": (True,) * 3}
    with pytest.raises(ValueError, match="3 layer types, 5 layers"):
        Config(**SIZES, **{key: entries[key]})


def test_qwen_slides_late_and_only_where_it_says_so():
    """Published files have a sliding_window that use_sliding_window switches off."""
    given = {"sliding_window": 8, "max_window_layers": 3}

    assert windows(QwenConfig(**SIZES, **given)) == [None, None, None, 8, 8]
    assert windows(QwenConfig(**SIZES, **given, use_sliding_window=False)) == [None] * 5


def test_exaones_full_layers_have_a_rope_only_where_all_are_full():
    """The 1.2B has no window and turns everywhere, the 32B on sliding layers alone."""
    hybrid, plain = ExaoneConfig(**SIZES, sliding_window=8), ExaoneConfig(**SIZES)

    assert [hybrid.has_rope(layer) for layer in range(5)] == [True, True, True, False, True]
    assert all(plain.has_rope(layer) for layer in range(5))
