"""Random weights in the shapes of models that people run on a GPU, written in seconds.

llama-8b-bf16, llama-8b-q4_k_m, llama-8b-fp8, qwen3-30b-a3b-q4_k_m, gpt-oss-20b-mxfp4; and "tiny" in place
of the size, for a look at whether it works.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter
from random_blocks import SIZES, RandomBlocks
from random_weights import add_vocabulary
from shapes import Matrix, Shape, Value, Vector, llama, qwen3moe

FP8_BLOCK = 128


@dataclass(frozen=True)
class Size:
    layers: int
    hidden: int
    wide: int
    heads: tuple[int, int]
    vocab: int
    experts: tuple[int, int] = (0, 0)
    head_dim: int = 128


LLAMA = {
    "8b": Size(32, 4096, 14336, (32, 8), 128_256),
    "tiny": Size(2, 256, 512, (2, 1), 512),
}
QWEN3_MOE = {
    "30b-a3b": Size(48, 2048, 768, (32, 4), 151_936, (128, 8)),
    "tiny": Size(2, 256, 256, (4, 2), 512, (8, 2), head_dim=64),
}
GPT_OSS = {
    "20b": Size(24, 2880, 2880, (64, 8), 201_088, (32, 4), head_dim=64),
    "tiny": Size(2, 96, 96, (4, 2), 512, (8, 2), head_dim=32),
}


def write(name: str, folder: Path) -> Path:
    """Writes the model of that name unless it is there; its path."""
    family, _, rest = name.partition("-")
    path = folder / name
    makers: Mapping[str, Callable[[str, Path], Path]] = {
        "llama": _llama,
        "qwen3": _qwen3_moe,
        "gpt": _gpt_oss,
    }
    if family not in makers:
        raise SystemExit(f"no model {name!r}: {__doc__}")
    folder.mkdir(parents=True, exist_ok=True)
    return makers[family](rest, path)


def _llama(rest: str, path: Path) -> Path:
    size_name, _, form = rest.partition("-")
    size = LLAMA[size_name]
    if form == "fp8":
        return _fp8(path, size)
    shape = llama(
        num_layers=size.layers,
        hidden=size.hidden,
        wide=size.wide,
        heads=size.heads,
        vocab=size.vocab,
        theta=5e5,
    )
    tensors = {**shape.tensors, "output.weight": Matrix((size.vocab, size.hidden))}
    shape = Shape(shape.architecture, shape.vocab_size, shape.metadata, tensors)
    return _gguf(path, shape, _q4_k_m if form == "q4_k_m" else lambda _: "BF16")


def _qwen3_moe(rest: str, path: Path) -> Path:
    size = QWEN3_MOE[rest.removesuffix("-q4_k_m")]
    shape = qwen3moe(
        num_layers=size.layers,
        hidden=size.hidden,
        heads=size.heads,
        experts=size.experts,
        expert_wide=size.wide,
        vocab=size.vocab,
        head_dim=size.head_dim,
    )
    return _gguf(path, shape, _q4_k_m)


def _gpt_oss(rest: str, path: Path) -> Path:
    size = GPT_OSS[rest.removeprefix("oss-").removesuffix("-mxfp4")]
    return _gguf(path, gpt_oss(size), lambda name: "MXFP4" if "_exps" in name else "BF16")


def gpt_oss(size: Size) -> Shape:
    hidden, wide, num_experts = size.hidden, size.wide, size.experts[0]
    queries, keys = (count * size.head_dim for count in size.heads)
    tensors: dict[str, Matrix | Vector] = {
        "token_embd.weight": Matrix((size.vocab, hidden)),
        "output_norm.weight": Vector((hidden,), 1.0),
        "output.weight": Matrix((size.vocab, hidden)),
    }
    for index in range(size.layers):
        layer = f"blk.{index}"
        rows = {"attn_q": queries, "attn_k": keys, "attn_v": keys}
        for name, count in rows.items():
            tensors[f"{layer}.{name}.weight"] = Matrix((count, hidden))
            tensors[f"{layer}.{name}.bias"] = Vector((count,))
        tensors |= {
            f"{layer}.attn_norm.weight": Vector((hidden,), 1.0),
            f"{layer}.post_attention_norm.weight": Vector((hidden,), 1.0),
            f"{layer}.attn_output.weight": Matrix((hidden, queries)),
            f"{layer}.attn_output.bias": Vector((hidden,)),
            f"{layer}.attn_sinks.weight": Vector((size.heads[0],)),
            f"{layer}.ffn_gate_inp.weight": Vector((num_experts, hidden)),
            f"{layer}.ffn_gate_inp.bias": Vector((num_experts,)),
        }
        for name, out, width in (
            ("gate", wide, hidden),
            ("up", wide, hidden),
            ("down", hidden, wide),
        ):
            tensors[f"{layer}.ffn_{name}_exps.weight"] = Matrix((num_experts, out, width))
            tensors[f"{layer}.ffn_{name}_exps.bias"] = Vector((num_experts, out))
    metadata: dict[str, Value] = {
        "context_length": 131_072,
        "embedding_length": hidden,
        "block_count": size.layers,
        "feed_forward_length": wide,
        "expert_feed_forward_length": wide,
        "attention.head_count": size.heads[0],
        "attention.head_count_kv": size.heads[1],
        "attention.key_length": size.head_dim,
        "attention.value_length": size.head_dim,
        "attention.layer_norm_rms_epsilon": 1e-5,
        "attention.sliding_window": 128,
        "rope.freq_base": 150_000.0,
        "rope.scaling.factor": 32.0,
        "rope.scaling.original_context_length": 4096,
        "rope.scaling.yarn_beta_fast": 32.0,
        "rope.scaling.yarn_beta_slow": 1.0,
        "expert_count": num_experts,
        "expert_used_count": size.experts[1],
    }
    return Shape("gpt-oss", size.vocab, metadata, tensors)


def _q4_k_m(name: str) -> str:
    """llama.cpp's mix, nearly: the head, and values and down projections of half of the layers."""
    parts = name.split(".")
    is_better = (
        parts[0] == "blk" and int(parts[1]) % 2 == 0 and parts[2].startswith(("attn_v", "ffn_down"))
    )
    return "Q6_K" if is_better or name == "output.weight" else "Q4_K"


def _gguf(path: Path, shape: Shape, form_of: Callable[[str], str]) -> Path:
    path = path.with_name(path.name + ".gguf")
    if path.is_file():
        return path
    partial = path.with_suffix(".partial")
    writer = GGUFWriter(partial, shape.architecture)
    writer.add_name(path.stem)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    if "rope.scaling.factor" in shape.metadata:
        writer.add_string(f"{shape.architecture}.rope.scaling.type", "yarn")
    for key, value in shape.metadata.items():
        add = writer.add_float32 if isinstance(value, float) else writer.add_uint32
        add(f"{shape.architecture}.{key}", value)
    add_vocabulary(writer, shape.vocab_size)
    forms = {
        name: form_of(name) if isinstance(tensor, Matrix) else "F32"
        for name, tensor in shape.tensors.items()
    }
    for name, tensor in shape.tensors.items():
        size, values = SIZES[forms[name]]
        num_bytes = prod(tensor.shape) // values * size
        kind = GGMLQuantizationType[forms[name]]
        shown = tensor.shape
        if kind not in {GGMLQuantizationType.F32, GGMLQuantizationType.BF16}:
            shown = (
                *tensor.shape[:-1],
                tensor.shape[-1] // values * size,
            )  # in bytes, as gguf wants it
        stored = np.dtype("u1") if shown != tensor.shape else np.dtype("f4")
        writer.add_tensor_info(name, shown, stored, num_bytes, kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    blocks = RandomBlocks()
    for name, tensor in shape.tensors.items():
        data = blocks.rows(forms[name], prod(tensor.shape), tensor.spread)
        if isinstance(tensor, Vector):
            data = (data.view(np.float32) + np.float32(tensor.centre)).view(np.uint8)
        writer.write_tensor_data(data)
    writer.close()
    partial.replace(path)
    return path


def _fp8(path: Path, size: Size) -> Path:
    """As DeepSeek stores it: e4m3 with a float32 scale for each block of 128 x 128."""
    if (path / "config.json").is_file():
        return path
    path.mkdir(parents=True, exist_ok=True)
    queries, keys = (count * size.head_dim for count in size.heads)
    wide, hidden = size.wide, size.hidden
    tensors: dict[str, tuple[str, tuple[int, ...], float]] = {
        "model.embed_tokens.weight": ("BF16", (size.vocab, hidden), 0.02),
        "model.norm.weight": ("BF16", (hidden,), 1.0),
        "lm_head.weight": ("BF16", (size.vocab, hidden), hidden**-0.5),
    }
    for index in range(size.layers):
        layer = f"model.layers.{index}"
        matrices = {
            "self_attn.q_proj": (queries, hidden),
            "self_attn.k_proj": (keys, hidden),
            "self_attn.v_proj": (keys, hidden),
            "self_attn.o_proj": (hidden, queries),
            "mlp.gate_proj": (wide, hidden),
            "mlp.up_proj": (wide, hidden),
            "mlp.down_proj": (hidden, wide),
        }
        for norm in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"{layer}.{norm}.weight"] = ("BF16", (hidden,), 1.0)
        for name, (rows, columns) in matrices.items():
            scales = (-(-rows // FP8_BLOCK), -(-columns // FP8_BLOCK))
            tensors[f"{layer}.{name}.weight"] = ("F8_E4M3", (rows, columns), 1.0)
            tensors[f"{layer}.{name}.weight_scale_inv"] = ("F32", scales, columns**-0.5 / 100)
    _safetensors(path / "model.safetensors", tensors)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": hidden,
        "intermediate_size": wide,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.heads[0],
        "num_key_value_heads": size.heads[1],
        "head_dim": size.head_dim,
        "vocab_size": size.vocab,
        "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-5,
        "rope_theta": 5e5,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "quantization_config": {
            "quant_method": "fp8",
            "fmt": "e4m3",
            "activation_scheme": "dynamic",
            "weight_block_size": [FP8_BLOCK, FP8_BLOCK],
        },
    }
    (path / "config.json").write_text(json.dumps(config))
    return path


def _safetensors(path: Path, tensors: Mapping[str, tuple[str, tuple[int, ...], float]]) -> None:
    """A third entry of 1-dimensional and of scale tensors is their value, else the spread."""
    header, offset = {}, 0
    for name, (kind, shape, _) in tensors.items():
        num_bytes = prod(shape) * SIZES[kind][0]
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [offset, offset + num_bytes]}
        offset += num_bytes
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    blocks = RandomBlocks()
    with path.open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        for name, (kind, shape, value) in tensors.items():
            count = prod(shape)
            if name.endswith("scale_inv"):
                file.write(np.full(count, value, np.float32).tobytes())
            elif len(shape) == 1:
                file.write(np.full(count, 0x3F80, np.uint16).tobytes())  # 1.0
            else:
                file.write(memoryview(blocks.rows(kind, count, value)))
