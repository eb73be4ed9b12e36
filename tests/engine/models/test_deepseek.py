import json

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from engine.cache.spec import Latent
from engine.checkpoint import CheckpointError, open_checkpoint
from engine.models.blueprint import blueprint
from engine.models.config_reader import read_config
from engine.models.deepseek import FAMILY, Config
from tests.engine.batches import logprobs_of
from tests.engine.fixture_models import COMMITTED, gguf_copy, hf_copy, reference, write_hf

MODEL = "deepseek3-noaux"
HF, GGUF = COMMITTED / MODEL / "hf", COMMITTED / MODEL / f"{MODEL}-BF16.gguf"
NOPE, ROPE, VALUE, RANK, HEADS, LAYERS = 16, 8, 16, 32, 4, 2
PROMPT = reference(MODEL)["prompts"][0]


def config_of(path) -> Config:
    with open_checkpoint(path) as checkpoint:
        return read_config(checkpoint, Config)


@pytest.fixture
def same_as_published(load_model):
    expected = logprobs_of(load_model(HF, "dense", torch.float32), PROMPT)

    def check(path, form="dense") -> bool:
        found = logprobs_of(load_model(path, form, torch.float32), PROMPT)
        return torch.allclose(found, expected, rtol=0, atol=1e-4)

    return check


def unsplit(split: str) -> dict[str, np.ndarray]:
    """Each layer's k_b and v_b as they were one matrix before May 2025."""
    stored = {tensor.name: tensor for tensor in gguf.GGUFReader(GGUF).tensors}

    def heads(name: str) -> np.ndarray:
        tensor = stored[name]
        shape = tensor.shape[::-1].tolist()
        return gguf.dequantize(tensor.data, tensor.tensor_type).reshape(shape)

    joined = {}
    for layer in range(LAYERS):
        keys = heads(f"blk.{layer}.attn_k_b.weight").transpose(0, 2, 1)
        both = np.concatenate([keys, heads(f"blk.{layer}.attn_v_b.weight")], axis=1)
        joined[split.format(layer)] = np.ascontiguousarray(both.reshape(-1, RANK))
    return joined


@pytest.mark.parametrize("form", ["dense", "packed"])
def test_old_files_have_kv_b_in_one_piece(tmp_path, same_as_published, form):
    """Legacy GGUF: attn_kv_b, and a head's own sizes where the cache's are now."""
    split = {f"blk.{layer}.attn_{part}_b.weight" for layer in range(LAYERS) for part in "kv"}
    sizes = {
        "attention.key_length": NOPE + ROPE,
        "attention.value_length": VALUE,
        "attention.key_length_mla": None,
        "attention.value_length_mla": None,
        "attention.head_count_kv": HEADS,
    }
    path = gguf_copy(
        tmp_path / "old.gguf",
        MODEL,
        metadata=sizes,
        leave_out=frozenset(split),
        tensors=unsplit("blk.{}.attn_kv_b.weight"),
    )

    assert same_as_published(path, form)


def test_old_files_say_nothing_or_softmax_of_sigmoid(tmp_path, same_as_published):
    """The correction's tensor makes it DeepSeek-V3's routing, whatever the metadata says."""
    for gating in (None, 1):
        metadata = {"expert_gating_func": gating}
        assert same_as_published(gguf_copy(tmp_path / f"{gating}.gguf", MODEL, metadata=metadata))


def test_new_configs_leave_the_routing_out(tmp_path, same_as_published):
    """As transformers 5 writes V3's config."""
    changes = dict.fromkeys(("topk_method", "scoring_func"))

    assert same_as_published(hf_copy(tmp_path / "new", MODEL, config=changes))


def test_layers_for_further_tokens_are_left_out(tmp_path, same_as_published):
    """A layer after the last, as DeepSeek-V3 is published, is not run; one too many is an error."""
    extra = {f"model.layers.{LAYERS}.eh_proj.weight": torch.zeros(2, 2)}
    config = {"num_nextn_predict_layers": 1}

    assert same_as_published(hf_copy(tmp_path / "hf", MODEL, config=config, tensors=extra))
    with pytest.raises(CheckpointError, match=r"layers\.2\.eh_proj"):
        same_as_published(hf_copy(tmp_path / "more", MODEL, tensors=extra))


def test_gguf_counts_layers_for_further_tokens(tmp_path, same_as_published):
    """block_count includes them."""
    path = gguf_copy(
        tmp_path / "mtp.gguf",
        MODEL,
        metadata={"block_count": LAYERS + 1, "nextn_predict_layers": 1},
        tensors={f"blk.{LAYERS}.nextn.eh_proj.weight": np.zeros((2, 2), np.float32)},
    )

    assert same_as_published(path)


@pytest.mark.parametrize("kind", ["block", "row"])
def test_eight_bits_are_kept(tmp_path, load_model, kind):
    """FP8, as DeepSeek-V3 is published: rows of rope and of kv_b_proj go with their scales."""
    dense, packed = {}, {}
    for name, tensor in load_file(HF / "model.safetensors").items():
        if tensor.ndim < 2 or "embed" in name or "lm_head" in name or name.endswith("gate.weight"):
            continue
        values, scale = tensor.float(), tensor.float().abs().amax(dim=1, keepdim=True) / 448
        scale = scale if kind == "row" else scale.max().view(1, 1)
        packed[name] = (values / scale).to(torch.float8_e4m3fn)
        packed[f"{name}_scale" + ("_inv" if kind == "block" else "")] = scale
        dense[name] = packed[name].float() * scale
    method = {"quant_method": "fp8", "weight_block_size": [128, 128]}
    rowwise = {
        "quant_method": "compressed-tensors",
        "format": "float-quantized",
        "config_groups": {"group_0": {"weights": {"num_bits": 8, "type": "float"}}},
    }
    config = {"quantization_config": method if kind == "block" else rowwise}
    eight = hf_copy(tmp_path / "fp8", MODEL, config=config, tensors=packed)
    exact = hf_copy(tmp_path / "exact", MODEL, tensors=dense)
    found, expected = (
        logprobs_of(load_model(path, form, torch.float32), PROMPT)
        for path, form in ((eight, "packed"), (exact, "dense"))
    )

    assert torch.allclose(found, expected, rtol=0, atol=1e-4)


def test_kimi_k25_is_its_text_model(tmp_path, same_as_published):
    """A wrapper with a vision tower around a DeepSeek-V3."""
    text = json.loads((HF / "config.json").read_bytes()) | {"model_type": "kimi_k2"}
    tensors = load_file(HF / "model.safetensors")
    wrapped = {f"language_model.{name}": tensor for name, tensor in tensors.items()}
    wrapped["vision_tower.patch_embed.proj.weight"] = torch.zeros(2, 2)
    wrapped["mm_projector.linear_1.weight"] = torch.zeros(2, 2)
    config = {
        "architectures": ["KimiK25ForConditionalGeneration"],
        "model_type": "kimi_k25",
        "text_config": {key: text[key] for key in text if key != "architectures"},
    }

    assert same_as_published(write_hf(tmp_path / "k25", config, wrapped))


def test_rope_rows_may_be_in_halves_already(tmp_path, same_as_published):
    """rope_interleave false: nothing is turned round."""
    tensors = load_file(HF / "model.safetensors")
    for name, heads in (("q_b_proj", HEADS), ("kv_a_proj_with_mqa", 1)):
        for layer in range(LAYERS):
            path = f"model.layers.{layer}.self_attn.{name}.weight"
            by_head = tensors[path].view(heads, -1, tensors[path].shape[1])
            turned = by_head[:, -ROPE:]
            halves = torch.cat([turned[:, ::2], turned[:, 1::2]], dim=1)
            tensors[path] = torch.cat([by_head[:, :-ROPE], halves], dim=1).flatten(0, 1)
    path = hf_copy(tmp_path / "halves", MODEL, config={"rope_interleave": False}, tensors=tensors)

    assert same_as_published(path)


def test_one_latent_is_cached():
    """No more than kv_lora_rank and the rotated key, for all heads."""
    with open_checkpoint(GGUF) as checkpoint:
        specs = blueprint(checkpoint).model.cache_specs

    assert specs == (Latent(RANK + ROPE),) * LAYERS


def test_both_formats_give_one_config():
    """What GGUF says otherwise comes to the same."""
    hf, other = config_of(HF), config_of(GGUF)
    names = ("qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim", "kv_lora_rank", "q_lora_rank")

    assert [getattr(hf, name) for name in names] == [getattr(other, name) for name in names]
    assert hf.routing.num_groups == other.routing.num_groups == 4
    assert (hf.routing.score, other.routing.score) == ("sigmoid", "sigmoid")
    ropes = [config.rope_parameters["full_attention"] for config in (hf, other)]
    assert ropes[0].mscale_all_dim == pytest.approx(ropes[1].mscale_all_dim)


@pytest.mark.parametrize(
    "changes",
    [{"qk_rope_head_dim": 7}, {"v_head_dim": 0}, {"moe_layer_freq": 2}, {"topk_method": "hash"}],
    ids=str,
)
def test_what_cannot_be_is_refused(tmp_path, changes):
    """Sizes that make no head, and keys with a value that we do not implement."""
    with pytest.raises(CheckpointError):
        config_of(hf_copy(tmp_path / "bad", MODEL, config=changes))


def test_the_family_covers_both_versions():
    """In GGUF V2, V3 and Kimi K2 are one architecture."""
    assert FAMILY.gguf_architectures == ("deepseek2",)
    assert {"deepseek_v2", "deepseek_v3", "kimi_k2", "kimi_k25"} <= set(FAMILY.model_types)
