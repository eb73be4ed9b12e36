"""Mistral 4 has no fixture: transformers makes one from a seed, and is the reference."""

from pathlib import Path

import pytest
import torch
from transformers import Mistral4Config, Mistral4ForCausalLM

from engine.checkpoint import open_checkpoint
from engine.models.blueprint import blueprint
from engine.models.deepseek import NAMES
from engine.models.mistral4 import Config
from engine.nn.rope_scaling import RopeParameters
from tests.engine.batches import Sequences, logprobs_of
from tests.engine.latent_models import save_random, write_gguf

VOCAB, PERIOD, NUM_TOKENS, BETA = 97, 8, 40, 0.3
CONFIG = {
    "vocab_size": VOCAB,
    "hidden_size": 64,
    "intermediate_size": 96,
    "moe_intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "n_routed_experts": 8,
    "num_experts_per_tok": 3,
    "q_lora_rank": 24,
    "kv_lora_rank": 32,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 8,
    "v_head_dim": 12,
    "max_position_embeddings": 512,
    "rope_parameters": {
        "rope_type": "yarn",
        "rope_theta": 10000.0,
        "factor": 64.0,
        "original_max_position_embeddings": PERIOD,
        "max_position_embeddings": 512,
        "mscale": 1.0,
        "mscale_all_dim": 1.0,
        "llama_4_scaling_beta": BETA,
    },
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    model = Mistral4ForCausalLM(Mistral4Config(**CONFIG))
    return save_random(model, tmp_path_factory.mktemp("mistral4") / "hf")


@pytest.fixture(scope="module")
def tokens() -> list[int]:
    return torch.randint(VOCAB, [NUM_TOKENS], generator=torch.Generator().manual_seed(3)).tolist()


@pytest.fixture(scope="module")
def expected(folder, tokens) -> torch.Tensor:
    model = Mistral4ForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
    with torch.no_grad():
        logits: torch.Tensor = model(torch.tensor([tokens]), use_cache=False).logits[0]
    return logits.log_softmax(-1)


def test_log_probs_equal_transformers(folder, tokens, expected, load_model):
    """Queries grow at every multiple of the original length; whole, and in chunks."""
    model = load_model(folder, "dense", torch.float32)
    sequences = Sequences(model, 1, NUM_TOKENS)
    parts = [sequences.step({0: tokens[start : start + 7]})[0] for start in range(0, NUM_TOKENS, 7)]

    assert (logprobs_of(model, tokens) - expected).abs().max() <= 1e-3
    assert (torch.cat(parts) - expected).abs().max() <= 1e-3


def test_gguf_is_the_same(folder, tmp_path, tokens, expected, load_model):
    """Stacked experts with gate and up in one, and the factor of queries where a file has it."""
    keys = {"attention.temperature_scale": BETA}
    path = write_gguf(folder, tmp_path / "mistral4.gguf", "mistral4", NAMES, **keys)
    found = logprobs_of(load_model(path, "dense", torch.float32), tokens)

    assert (found - expected).abs().max() <= 1e-3


def test_queries_grow_as_the_config_says(folder):
    """It is the rope's own key, and kept."""
    with open_checkpoint(folder) as checkpoint:
        config = blueprint(checkpoint).config

    assert config.rope_parameters["full_attention"].llama_4_scaling_beta == BETA


def test_gguf_says_nothing_of_growth():
    """A file that its converter gave no key has the published factor."""
    sizes = {"kv_lora_rank": 32, "qk_rope_head_dim": 8, "key_length_mla": 24, "v_head_dim": 12}
    experts = {"n_routed_experts": 8, "num_experts_per_tok": 3, "moe_intermediate_size": 32}
    common = {"vocab_size": 9, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 1}
    rope = RopeParameters(10000.0, "yarn", factor=4.0, original_max_position_embeddings=8)
    config = Config(
        **sizes,
        **experts,
        **common,
        num_attention_heads=4,
        max_position_embeddings=512,
        rms_norm_eps=1e-6,
        rope_parameters={"full_attention": rope},
        yarn_log_multiplier=0.1,
    )

    assert config.rope_parameters["full_attention"].llama_4_scaling_beta == 0.1
