"""Models of latent attention that transformers makes from a seed, in both formats."""

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import PreTrainedModel

from engine.models.names import Names, locate

_SIZES = {
    "vocab_size": "vocab_size",
    "max_position_embeddings": "context_length",
    "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length",
    "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "first_k_dense_replace": "leading_dense_block_count",
    "q_lora_rank": "attention.q_lora_rank",
    "kv_lora_rank": "attention.kv_lora_rank",
    "v_head_dim": "attention.value_length_mla",
    "qk_rope_head_dim": "rope.dimension_count",
    "n_routed_experts": "expert_count",
    "num_experts_per_tok": "expert_used_count",
    "n_group": "expert_group_count",
    "topk_group": "expert_group_used_count",
    "n_shared_experts": "expert_shared_count",
    "moe_intermediate_size": "expert_feed_forward_length",
    "index_n_heads": "attention.indexer.head_count",
    "index_head_dim": "attention.indexer.key_length",
    "index_topk": "attention.indexer.top_k",
}


def save_random(model: PreTrainedModel, folder: Path) -> Path:
    """A checkpoint with weights wide enough that a slip in any operation shows."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in model.float().state_dict().items():
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.2)
            if "norm" in name and name.endswith("weight"):
                tensor.add_(1)
    model.save_pretrained(folder)
    return folder


def write_gguf(folder: Path, path: Path, architecture: str, names: Names, **keys: Any) -> Path:
    """The same under GGUF's names and keys, as llama.cpp's converter has them; keys: further ones."""
    config = json.loads((folder / "config.json").read_bytes())
    writer = gguf.GGUFWriter(path, architecture)
    for key, value in _sizes(config).items():
        writer.add_uint32(f"{architecture}.{key}", value)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_expert_weights_scale(config["routed_scaling_factor"])
    writer.add_expert_weights_norm(config["norm_topk_prob"])
    _add_rope(writer, config["rope_parameters"])
    for key, value in keys.items():
        writer.add_float32(f"{architecture}.{key}", value)
    for name, tensor in _tensors(load_file(folder / "model.safetensors"), config, names).items():
        writer.add_tensor(name, np.ascontiguousarray(tensor.numpy()))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _sizes(config: dict[str, Any]) -> dict[str, int]:
    rank, rope = config["kv_lora_rank"], config["qk_rope_head_dim"]
    cached = {
        "attention.head_count_kv": 1,
        "attention.key_length": rank + rope,
        "attention.value_length": rank,
        "attention.key_length_mla": config["qk_nope_head_dim"] + rope,
    }
    return cached | {ours: config[key] for key, ours in _SIZES.items() if key in config}


def _add_rope(writer: gguf.GGUFWriter, rope: dict[str, Any]) -> None:
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    writer.add_rope_scaling_factor(rope["factor"])
    writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    writer.add_rope_scaling_yarn_log_mul(0.1 * rope["mscale_all_dim"])


def _tensors(stored: dict[str, Tensor], config: dict[str, Any], names: Names) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for name, tensor in stored.items():
        layer = f"blk.{name.split('.')[2]}" if ".layers." in name else ""
        before, _, kind = name.partition(".experts.")
        if name.endswith("experts.gate_up_proj"):
            found[f"{layer}.ffn_gate_up_exps.weight"] = tensor
        elif name.endswith("experts.down_proj"):
            found[f"{layer}.ffn_down_exps.weight"] = tensor
        elif kind:
            kind = kind.partition(".")[2]
            experts = range(config["n_routed_experts"])
            stack = torch.stack([stored[f"{before}.experts.{e}.{kind}"] for e in experts])
            found[_gguf(f"{before}.experts.{kind}", names)] = stack
        elif "kv_b_proj" in name:
            nope, rank = config["qk_nope_head_dim"], config["kv_lora_rank"]
            both = tensor.view(config["num_attention_heads"], -1, rank)
            found[f"{layer}.attn_k_b.weight"] = both[:, :nope].transpose(1, 2)
            found[f"{layer}.attn_v_b.weight"] = both[:, nope:]
        else:
            found[_gguf(name, names)] = tensor
    return found


def _gguf(name: str, names: Names) -> str:
    found = locate(name, names)
    assert found, name
    return found.gguf
