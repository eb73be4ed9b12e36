"""DeepSeek V3.2 has no fixture: transformers makes one from a seed, and is the reference."""

from pathlib import Path

import pytest
import torch
from transformers import DeepseekV32Config, DeepseekV32ForCausalLM

from engine.cache.spec import IndexedLatent
from engine.checkpoint import CheckpointError, open_checkpoint
from engine.kernels.cpu.library import is_available
from engine.models.blueprint import blueprint
from engine.models.deepseek_v32 import NAMES
from engine.nn.recording import record
from tests.engine.batches import Sequences, logprobs_of
from tests.engine.latent_models import save_random, write_gguf
from tests.engine.programmed import Programmed

TOP_K, NUM_TOKENS, VOCAB, RANK = 8, 40, 97, 32
CONFIG = {
    "vocab_size": VOCAB,
    "hidden_size": 64,
    "intermediate_size": 96,
    "moe_intermediate_size": 32,
    "num_hidden_layers": 3,
    "first_k_dense_replace": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "n_routed_experts": 8,
    "num_experts_per_tok": 3,
    "n_group": 4,
    "topk_group": 2,
    "q_lora_rank": 24,
    "kv_lora_rank": RANK,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 8,
    "v_head_dim": 12,
    "index_n_heads": 16,
    "index_head_dim": 24,
    "index_topk": TOP_K,
    "max_position_embeddings": 512,
    "rope_parameters": {
        "rope_type": "yarn",
        "rope_theta": 10000.0,
        "factor": 4.0,
        "original_max_position_embeddings": 128,
        "mscale": 1.0,
        "mscale_all_dim": 1.0,
    },
}


@pytest.fixture(scope="module")
def tokens() -> list[int]:
    return torch.randint(VOCAB, [NUM_TOKENS], generator=torch.Generator().manual_seed(3)).tolist()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    model = DeepseekV32ForCausalLM(DeepseekV32Config(**CONFIG))
    return save_random(model, tmp_path_factory.mktemp("v32") / "hf")


@pytest.fixture(scope="module")
def expected(folder, tokens) -> torch.Tensor:
    model = DeepseekV32ForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
    with torch.no_grad():
        logits: torch.Tensor = model(torch.tensor([tokens]), use_cache=False).logits[0]
    return logits.float().log_softmax(-1)


def test_log_probs_equal_transformers_beyond_index_topk(folder, tokens, expected, load_model):
    """Of 40 tokens a row sees 8, and those are the ones that transformers picks."""
    found = logprobs_of(load_model(folder, "dense", torch.float32), tokens)

    assert (found - expected).abs().max() <= 1e-3


@pytest.mark.skipif(not is_available(), reason="the native library is not built")
def test_its_program_asks_torch_for_the_choice_of_tokens(folder, tokens, expected):
    """The one op that no native operation does runs in torch, and the rest of the step natively."""
    model = Programmed(folder, "dense", torch.float32)
    found = logprobs_of(model, tokens)

    assert set(model.fallbacks) == {"choose_tokens"}
    assert (found - expected).abs().max() <= 1e-3


def test_the_indexer_matters(folder, tokens, expected, load_model, monkeypatch):
    """Seeing everything is something else, beyond index_topk and not before."""
    model = load_model(folder, "dense", torch.float32)
    for layer in model.model.layers:
        monkeypatch.setattr(layer.self_attn, "_top_k", NUM_TOKENS)
    difference = (logprobs_of(model, tokens) - expected).abs().amax(-1)

    assert difference[:TOP_K].max() <= 1e-3
    assert difference[TOP_K:].min() > 1e-2


def test_gguf_is_the_same(folder, tmp_path, tokens, expected, load_model):
    """Names, split up-projections, and keys that say the same."""
    path = write_gguf(folder, tmp_path / "v32.gguf", "deepseek32", NAMES)
    found = logprobs_of(load_model(path, "dense", torch.float32), tokens)

    assert (found - expected).abs().max() <= 1e-3


def test_chunks_and_neighbours_do_not_matter(folder, tokens, expected, load_model):
    """Two sequences side by side, one in chunks and one token by token."""
    model = load_model(folder, "dense", torch.float32)
    sequences = Sequences(model, 2, NUM_TOKENS)
    parts: dict[int, list[torch.Tensor]] = {0: [], 1: []}
    for start in range(0, NUM_TOKENS, 7):
        chunk = tokens[start : start + 7]
        steps = [{0: chunk, 1: chunk[:1]}, *({1: [token]} for token in chunk[1:])]
        for step in steps:
            for index, logprobs in sequences.step(step).items():
                parts[index].append(logprobs)

    for found in parts.values():
        assert torch.allclose(torch.cat(found), expected, rtol=0, atol=1e-3)


def test_index_keys_are_cached_beside_latents(folder):
    """The footprint counts both."""
    with open_checkpoint(folder) as checkpoint:
        model = blueprint(checkpoint).model

    assert set(model.cache_specs) == {IndexedLatent(RANK + 8, 24)}
    assert model.cache_specs[0].bytes_per_token(2) == 2 * (RANK + 8 + 24)


def test_the_forward_is_a_list_of_ops(folder):
    """It can be recorded: choosing tokens is an op, not a branch."""
    with open_checkpoint(folder) as checkpoint:
        model = blueprint(checkpoint).model
    tape = record(model, 5, torch.bfloat16)

    assert sum(call.op == "choose_tokens" for call in tape.calls) == 3


def test_an_unfit_indexer_is_refused(folder, tmp_path):
    """Its heads must hold what rope turns."""
    config = (
        (folder / "config.json").read_text().replace('"index_head_dim": 24', '"index_head_dim": 4')
    )
    copy = tmp_path / "bad"
    copy.mkdir()
    (copy / "config.json").write_text(config)
    (copy / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())

    with (
        open_checkpoint(copy) as checkpoint,
        pytest.raises(CheckpointError, match="index_head_dim"),
    ):
        blueprint(checkpoint)
