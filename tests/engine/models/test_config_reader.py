import json

import msgspec
import pytest
import torch
from structlog.testing import capture_logs

from engine.checkpoint import CheckpointError, open_checkpoint
from engine.models.blueprint import blueprint
from engine.models.config_reader import read_config
from engine.models.registry import families, family_of
from tests.engine.fixture_models import COMMITTED, gguf_copy, hf_copy, write_hf

GEMMA_WRAPPER = {"architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3"}


def config_of(path):
    with open_checkpoint(path) as checkpoint:
        return read_config(checkpoint, family_of(checkpoint).config)


@pytest.mark.parametrize(
    "model", ["llama-plain", "llama-bias", "llama-rope3", "gemma3-swa", "gemma3-linear"]
)
def test_both_formats_say_the_same(model):
    """A model's config is one, whichever file it is read from."""
    hf = config_of(COMMITTED / model / "hf")
    (path,) = (COMMITTED / model).glob("*.gguf")
    gguf = config_of(path)
    # GGUF has floats in single precision, layer types as a period, llama3 ropes as a tensor.
    other = {"rms_norm_eps", "layer_types", "rope_parameters"}

    for field in set(hf.__struct_fields__) - other:
        assert getattr(hf, field) == getattr(gguf, field), field
    assert hf.rms_norm_eps == pytest.approx(gguf.rms_norm_eps)


@pytest.mark.parametrize("model", ["llama-newconfig", "gemma3-pattern3"])
def test_a_config_survives_a_round_trip(model):
    """What is read can be written and read again."""
    config = config_of(COMMITTED / model / "hf")

    assert msgspec.convert(msgspec.to_builtins(config), type(config)) == config


@pytest.mark.parametrize(
    ("model", "changes", "named"),
    [
        ("llama-bf16", {"attn_logit_softcapping": 50.0}, "attn_logit_softcapping"),
        ("llama-bf16", {"sliding_window": 128}, "sliding_window"),
        ("llama-bf16", {"num_local_experts": 8}, "num_local_experts"),
        ("llama-bf16", {"layer_types": ["full_attention", "sliding_attention"]}, "layer_types"),
        ("llama-bf16", {"no_rope_layers": [1, 0]}, "no_rope_layers"),
        ("llama-bf16", {"hidden_act": "gelu"}, "hidden_act"),
        ("llama-bf16", {"rope_scaling": {"type": "mrope", "factor": 2.0}}, "mrope"),
        ("gemma3-swa", {"use_bidirectional_attention": True}, "use_bidirectional_attention"),
        ("gemma3-swa", {"layer_types": ["chunked_attention"] * 7}, "chunked_attention"),
    ],
)
def test_active_keys_we_do_not_honour_are_refused_by_name(tmp_path, model, changes, named):
    """A model is refused rather than computed wrongly."""
    with pytest.raises(CheckpointError, match=named):
        config_of(hf_copy(tmp_path, model, config=changes))


def test_the_same_keys_at_rest_are_accepted(tmp_path):
    """Null, and values that change nothing."""
    at_rest = {"sliding_window": None, "num_local_experts": 0, "partial_rotary_factor": 1.0}

    assert config_of(hf_copy(tmp_path, "llama-bf16", config=at_rest))


@pytest.mark.parametrize(
    ("metadata", "named"),
    [
        ({"expert_count": 8}, "num_experts_per_tok"),
        ({"attention.sliding_window": 64}, "attention.sliding_window"),
        ({"rope.scaling.type": "yarn", "rope.scaling.attn_factor": 2.0}, "attn_factor"),
        ({"rope.scaling.type": "mrope"}, "mrope"),
        ({"rope.dimension_count": 5}, "rope turns pairs"),
        ({"rope.dimension_count": 48}, "partial_rotary_factor"),
        ({"attention.value_length": 8}, "attention.value_length"),
        ({"attention.head_count_kv": [2, 1]}, "num_key_value_heads"),
        ({"attention.head_count": None}, "num_attention_heads"),
    ],
)
def test_gguf_keys_we_do_not_honour_are_refused_by_name(tmp_path, metadata, named):
    """The same for GGUF, experts in the llama graph among them."""
    with pytest.raises(CheckpointError, match=named):
        config_of(gguf_copy(tmp_path / "m.gguf", "llama-plain", metadata=metadata))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_attention_heads": 0}, "num_attention_heads"),
        ({"num_attention_heads": -4}, "num_attention_heads"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers"),
        ({"hidden_size": "64"}, "hidden_size"),
        ({"hidden_size": None}, "hidden_size"),
        ({"vocab_size": 2**40}, "vocab_size"),
        ({"num_key_value_heads": 3}, "not a multiple"),
        ({"head_dim": None, "hidden_size": 66}, "not a multiple"),
        ({"head_dim": 15}, "odd"),
        ({"rms_norm_eps": 0.0}, "rms_norm_eps"),
        ({"rope_theta": 0.0}, "rope_theta"),
        ({"rope_theta": "big"}, "rope_theta"),
        ({"rope_scaling": [1]}, "rope"),
        ({"rope_scaling": "linear"}, "rope"),
        ({"rope_parameters": 3}, "rope"),
    ],
)
def test_sizes_of_no_sense_are_refused(tmp_path, changes, message):
    """Nothing is built from numbers that cannot be."""
    with pytest.raises(CheckpointError, match=message):
        config_of(hf_copy(tmp_path, "llama-bf16", config=changes))


def test_unread_keys_are_logged_once(tmp_path):
    """A key that nobody knows is mentioned, and mentioned once."""
    path = hf_copy(tmp_path / "odd", "llama-bf16", config={"mystery_key": 1, "use_cache": True})
    with capture_logs() as logs:
        config_of(path)
        config_of(path)

    assert [(log["event"], log["keys"]) for log in logs] == [
        ("config_keys_unread", ("mystery_key",))
    ]


def test_a_wrapper_s_text_model_is_read(tmp_path):
    """A vision-language checkpoint: text_config, prefixed names, vision tensors left out."""
    source = COMMITTED / "gemma3-swa/hf"
    text = json.loads((source / "config.json").read_bytes())
    del text["tie_word_embeddings"]  # the class's own default is true
    with open_checkpoint(source) as checkpoint:
        tensors = {
            name.replace("model.", "language_model.model.", 1): torch.frombuffer(
                bytearray(checkpoint.read(name)), dtype=torch.bfloat16
            ).view(info.shape)
            for name, info in checkpoint.tensors.items()
        }
    tensors["vision_tower.patch.weight"] = torch.zeros(2, 2)
    path = write_hf(tmp_path / "wrapped", GEMMA_WRAPPER | {"text_config": text}, tensors)
    with open_checkpoint(path) as checkpoint:
        plan = blueprint(checkpoint)

    assert plan.family.name == "gemma3"
    assert plan.config == config_of(source)


def test_a_sparse_wrapper_relies_on_class_defaults(tmp_path):
    """Gemma 3's published wrappers leave out what their config class assumes."""
    text = {"model_type": "gemma3_text", "hidden_size": 2560, "num_hidden_layers": 34}
    path = write_hf(
        tmp_path / "sparse", GEMMA_WRAPPER | {"text_config": text}, {"x": torch.zeros(1)}
    )
    config = config_of(path)

    assert (config.num_attention_heads, config.num_key_value_heads, config.head_dim) == (8, 4, 256)
    assert config.tie_word_embeddings
    assert config.rope_parameters["sliding_attention"].rope_theta == 1e4


def test_defaults_are_those_of_transformers():
    """hf_defaults say what transformers' config class says."""
    from transformers import Gemma3TextConfig

    (gemma,) = (family for family in families() if family.name == "gemma3")
    published = Gemma3TextConfig().to_dict()

    for key, value in gemma.config.hf_defaults.items():
        assert published[key] == value, key
