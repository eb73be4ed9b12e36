import pytest
import torch
from msgspec.structs import replace

from engine.models.llama import NAMES, Config
from engine.models.names import (
    Fused,
    Name,
    canonical,
    is_unused,
    locate,
    plus_one,
    unpermute,
    without_wrapper,
)
from engine.nn.rope_scaling import RopeParameters

CONFIG = Config(
    vocab_size=8,
    hidden_size=16,
    intermediate_size=8,
    num_hidden_layers=1,
    num_attention_heads=2,
    max_position_embeddings=64,
    rms_norm_eps=1e-5,
    rope_parameters={"full_attention": RopeParameters(rope_theta=1e4)},
)


@pytest.mark.parametrize(
    ("path", "gguf"),
    [
        ("model.embed_tokens.weight", "token_embd.weight"),
        ("model.layers.17.mlp.down_proj.weight", "blk.17.ffn_down.weight"),
        ("model.layers.3.self_attn.q_proj.bias", "blk.3.attn_q.bias"),
        ("model.layers.0.self_attn.rotary_emb.inv_freq", "rope_freqs.weight"),
        ("lm_head.weight", "output.weight"),
    ],
)
def test_paths_have_gguf_names(path, gguf):
    """Modules by name with their tensors' suffix, single tensors by their whole name."""
    name = locate(path, NAMES)

    assert name is not None
    assert name.gguf == gguf


def test_unknown_paths_have_none():
    """A parameter that GGUF does not know is not guessed at."""
    assert locate("model.layers.0.self_attn.sinks", NAMES) is None


def permuted(rows: torch.Tensor, heads: int) -> torch.Tensor:
    """What llama.cpp's converter does to q and k."""
    shape = rows.shape
    return rows.reshape(heads, 2, shape[0] // heads // 2, *shape[1:]).swapaxes(1, 2).reshape(shape)


@pytest.mark.parametrize(
    "rows", [torch.arange(16.0), torch.randint(0, 255, (16, 18), dtype=torch.uint8)]
)
def test_unpermute_undoes_the_converter(rows):
    """Rows of a matrix, packed or not, and biases."""
    undo = unpermute("num_attention_heads")

    assert torch.equal(undo(permuted(rows, 2), CONFIG), rows)
    assert not torch.equal(permuted(rows, 2), rows)


def test_unpermute_leaves_what_a_partial_rope_leaves():
    """Only the first rows of each head were interleaved: here 4 of 8."""
    rope = RopeParameters(rope_theta=1e4, partial_rotary_factor=0.5)
    config = replace(CONFIG, rope_parameters={"full_attention": rope})
    head = [0, 2, 1, 3, 4, 5, 6, 7]

    found = unpermute("num_attention_heads")(torch.arange(16), config)
    assert found.tolist() == head + [8 + row for row in head]


def test_plus_one():
    """Norms that store what their factor has beyond one."""
    assert plus_one(torch.tensor([0.5]), CONFIG).item() == 1.5


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("model.language_model.layers.0.x", "model.layers.0.x"),
        ("language_model.model.norm.weight", "model.norm.weight"),
        ("language_model.lm_head.weight", "lm_head.weight"),
        ("model.norm.weight", "model.norm.weight"),
    ],
)
def test_wrappers_are_taken_off(name, plain):
    """The text model of a vision-language checkpoint has the names it would have alone."""
    assert without_wrapper(name) == plain


def test_vision_towers_are_unused_on_purpose():
    """What belongs to a wrapper only is left out knowingly, other names are not."""
    assert is_unused("vision_tower.blocks.0.weight")
    assert is_unused("model.layers.0.self_attn.rotary_emb.inv_freq")
    assert not is_unused("model.layers.0.self_attn.q_proj.bias")
    assert is_unused("lm_head.weight", ("lm_head.*",))


def test_hugging_face_may_have_another_name():
    """The path in our blocks is its name there, unless the table has one."""
    names = {"model.layers.{i}.mlp.up_proj": Name("blk.{i}.ffn_up", hf="h.{i}.mlp.fc1")}
    renamed = locate("model.layers.3.mlp.up_proj.bias", names)
    kept = locate("model.layers.3.mlp.up_proj.bias", NAMES)

    assert renamed is not None
    assert (renamed.gguf, renamed.hf) == ("blk.3.ffn_up.bias", "h.3.mlp.fc1.bias")
    assert kept is not None
    assert kept.hf == "model.layers.3.mlp.up_proj.bias"


def test_parts_know_their_whole():
    """Weights and biases alike; names that only end alike are no parts."""
    fused = Fused("attn_qkv", ("attn_q", "attn_k", "attn_v"))

    parts = ["blk.3.attn_q.bias", "blk.3.attn_k.bias", "blk.3.attn_v.bias"]
    assert fused.find("blk.3.attn_k.bias") == ("blk.3.attn_qkv.bias", parts)
    assert fused.find("blk.3.cross_attn_k.bias") is None


@pytest.mark.parametrize(
    ("stored", "ours"),
    [
        ("m.0.mlp.experts.down_proj", "m.0.mlp.experts.down_proj.weight"),
        ("m.0.mlp.experts.gate_up_proj_bias", "m.0.mlp.experts.gate_up_proj.bias"),
        ("m.0.mlp.experts.3.up_proj.weight", "m.0.mlp.experts.3.up_proj.weight"),
    ],
)
def test_stacked_experts_are_named_as_modules(stored, ours):
    """Some are stored as bare parameters, and would have neither .weight nor .bias."""
    assert canonical(stored) == ours
