"""What the fixture lacks: shared caches, a short second vocabulary, and GGUF."""

import gguf
import pytest
import torch
from transformers import Gemma3nForCausalLM, Gemma3nTextConfig

from engine.models.gemma3n import Config
from engine.nn.rope_scaling import RopeParameters
from tests.engine.batches import logprobs_of

SIZES = {
    "vocab_size": 40,
    "hidden_size": 32,
    "intermediate_size": 24,
    "num_hidden_layers": 7,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-6,
    "sliding_window": 16,
    "hidden_size_per_layer_input": 8,
    "vocab_size_per_layer_input": 36,
    "num_kv_shared_layers": 2,
}
ROPES = {
    "full_attention": RopeParameters(rope_theta=1e6),
    "sliding_attention": RopeParameters(rope_theta=1e4),
}
TOKENS = [7 * position % 40 for position in range(50)]


@pytest.fixture(scope="module")
def original() -> Gemma3nForCausalLM:
    sparsity = [0.9, 0.8] + [0.0] * 5
    config = Gemma3nTextConfig(**SIZES, activation_sparsity_pattern=sparsity)
    torch.manual_seed(5)
    model = Gemma3nForCausalLM(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(std=0.2)
    return model


@pytest.fixture(scope="module")
def expected(original) -> torch.Tensor:
    with torch.no_grad():
        return original(torch.tensor([TOKENS]), use_cache=False).logits[0].log_softmax(-1)


def test_it_computes_what_transformers_does(original, expected, tmp_path, load_model):
    """Layers that borrow a cache, and tokens beyond the second vocabulary."""
    original.save_pretrained(tmp_path)
    model = load_model(tmp_path, "dense", torch.float32)

    assert len(model.cache_specs) == 5
    assert torch.allclose(logprobs_of(model, TOKENS), expected, rtol=0, atol=1e-4)


def test_gguf_holds_the_same(original, expected, tmp_path, load_model):
    """Projections stacked, sparsity in deviations, the second table padded to the first's size."""
    path = tmp_path / "gemma3n.gguf"
    write_gguf(path, original)

    found = logprobs_of(load_model(path, "dense", torch.float32), TOKENS)

    assert torch.allclose(found, expected, rtol=0, atol=1e-4)


def write_gguf(path, original: Gemma3nForCausalLM) -> None:
    """As llama.cpp's converter does, with gguf-py's names."""
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.GEMMA3N, SIZES["num_hidden_layers"])
    writer = gguf.GGUFWriter(path, "gemma3n")
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_block_count(7)
    writer.add_feed_forward_length([24] * 7)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_key_length(8)
    writer.add_value_length(8)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(1e6)
    writer.add_sliding_window(16)
    writer.add_sliding_window_pattern([(i + 1) % 5 != 0 for i in range(7)])
    writer.add_final_logit_softcapping(30.0)
    writer.add_shared_kv_layers(2)
    writer.add_embedding_length_per_layer_input(8)
    writer.add_altup_num_inputs(4)
    writer.add_altup_active_idx(0)
    normal = torch.distributions.Normal(0, 1)
    scales = [float(normal.icdf(torch.tensor(cut))) for cut in (0.9, 0.8)]
    writer.add_activation_sparsity_scale([*scales, *[-torch.inf] * 5])
    tensors = {name.removeprefix("model."): each for name, each in original.state_dict().items()}
    for kind, stacked in (
        ("altup_projections", "altup_proj"),
        ("altup_unembed_projections", "altup_unembd_proj"),
    ):
        parts = [tensors.pop(f"{kind}.{index}.weight") for index in range(3)]
        writer.add_tensor(f"{stacked}.weight", torch.stack(parts).numpy())
    second = tensors["embed_tokens_per_layer.weight"]
    tensors["embed_tokens_per_layer.weight"] = torch.cat([second, second[:1].expand(4, -1)])
    tensors.pop("lm_head.weight", None)
    for name, each in tensors.items():
        found = names.get_name(f"model.{name}", try_suffixes=(".weight",))
        assert found, name
        suffix = ".weight" if found.endswith("altup_correct_scale") else ""
        writer.add_tensor(found + suffix, each.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"intermediate_size": [24] * 6 + [48]}, "not one size of all layers"),
        ({"hidden_size_per_layer_input": 0}, "hidden_size_per_layer_input"),
        ({"activation_sparsity_pattern": (0.5,)}, "1 activation sparsities, 7 layers"),
    ],
)
def test_sizes_of_no_sense_are_refused(changes, message):
    """Before anything is built from them."""
    with pytest.raises(ValueError, match=message):
        Config(**SIZES | {"rope_parameters": ROPES} | changes)
