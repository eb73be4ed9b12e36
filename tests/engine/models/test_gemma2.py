import pytest
import torch

from engine.cache.spec import KV
from engine.checkpoint import open_checkpoint
from engine.models.config_reader import read_config
from engine.models.gemma2 import Config, build
from engine.nn.rope_scaling import RopeParameters
from tests.engine.fixture_models import write_hf

SIZES = {
    "vocab_size": 32,
    "hidden_size": 48,
    "intermediate_size": 24,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-6,
    "sliding_window": 16,
    "rope_parameters": {"full_attention": RopeParameters(rope_theta=1e4)},
}


def test_every_second_layer_sees_everything():
    """The published pattern, where a file says nothing: the first slides."""
    specs = build(Config(**SIZES)).cache_specs

    assert [spec.window for spec in specs if isinstance(spec, KV)] == [16, None, 16, None]


def test_the_scale_is_the_files_or_follows_from_the_size():
    """query_pre_attn_scalar; in GGUF head_dim, but of the 27B (46 layers) hidden_size / heads."""
    assert Config(**SIZES, query_pre_attn_scalar=20).query_pre_attn_scalar == 20
    assert Config(**SIZES).query_pre_attn_scalar == 8
    assert Config(**SIZES | {"num_hidden_layers": 46}).query_pre_attn_scalar == 12


@pytest.mark.parametrize(("said", "cap"), [({}, 50), ({"attn_logit_softcapping": None}, None)])
def test_a_cap_that_is_null_is_none(tmp_path, said, cap):
    """Left out, it is what the config class assumes; null switches it off."""
    config = {name: size for name, size in SIZES.items() if name != "rope_parameters"}
    folder = write_hf(tmp_path, config | said, {"model.norm.weight": torch.ones(48)})

    with open_checkpoint(folder) as checkpoint:
        assert read_config(checkpoint, Config).attn_logit_softcapping == cap
