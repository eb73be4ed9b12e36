import pytest
import torch

from engine.models.llama import NAMES, Config
from engine.models.names import is_unused, locate, plus_one, unpermute, without_wrapper
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
