"""Shapes of models: which tensors and which metadata a GGUF of each architecture has.

Names and shapes are those that llama.cpp and gguf-py demand (src/models/*.cpp, gguf/constants.py).
"""

from dataclasses import dataclass
from math import prod

Value = int | float


@dataclass(frozen=True)
class Matrix:
    """A stored matrix: outermost dimension first. Drawn so that rows keep the size of inputs."""

    shape: tuple[int, ...]

    @property
    def spread(self) -> float:
        return float(self.shape[-1] ** -0.5)


@dataclass(frozen=True)
class Vector:
    """Float32 values about a centre: norms, biases, decays, and matrices that stay exact."""

    shape: tuple[int, ...]
    centre: float = 0.0
    spread: float = 0.02


@dataclass(frozen=True)
class Shape:
    """A model without its weights. metadata: keys without the architecture's prefix."""

    architecture: str
    vocab_size: int
    metadata: dict[str, Value]
    tensors: dict[str, Matrix | Vector]

    @property
    def num_parameters(self) -> int:
        return sum(prod(tensor.shape) for tensor in self.tensors.values())


def llama(
    *, num_layers: int, hidden: int, wide: int, heads: tuple[int, int], vocab: int, theta: float
) -> Shape:
    """Llama's layers. heads: those of the queries, and those of keys and values.

    No output matrix above 100,000 tokens, as Llama 3.2 ties its own.
    """
    tensors: dict[str, Matrix | Vector] = _ends(hidden, vocab, tied=vocab > 100_000)
    for layer in _layers(num_layers):
        tensors |= _attention(layer, hidden, heads, hidden // heads[0])
        tensors[f"{layer}.ffn_norm.weight"] = _norm(hidden)
        tensors[f"{layer}.ffn_gate.weight"] = Matrix((wide, hidden))
        tensors[f"{layer}.ffn_up.weight"] = Matrix((wide, hidden))
        tensors[f"{layer}.ffn_down.weight"] = Matrix((hidden, wide))
    metadata = _transformer(num_layers, hidden, wide, heads, theta)
    metadata |= {"rope.dimension_count": hidden // heads[0], "vocab_size": vocab}
    return Shape("llama", vocab, metadata, tensors)


def qwen3moe(
    *,
    num_layers: int,
    hidden: int,
    heads: tuple[int, int],
    experts: tuple[int, int],
    expert_wide: int,
    vocab: int,
    head_dim: int = 0,
) -> Shape:
    """Qwen3's mixture of experts. experts: how many there are, and how many a token uses."""
    head_dim = head_dim or hidden // heads[0]
    tensors: dict[str, Matrix | Vector] = _ends(hidden, vocab)
    for layer in _layers(num_layers):
        tensors |= _attention(layer, hidden, heads, head_dim)
        tensors[f"{layer}.attn_q_norm.weight"] = _norm(head_dim)
        tensors[f"{layer}.attn_k_norm.weight"] = _norm(head_dim)
        tensors[f"{layer}.ffn_norm.weight"] = _norm(hidden)
        tensors[f"{layer}.ffn_gate_inp.weight"] = Vector((experts[0], hidden))
        tensors[f"{layer}.ffn_gate_exps.weight"] = Matrix((experts[0], expert_wide, hidden))
        tensors[f"{layer}.ffn_up_exps.weight"] = Matrix((experts[0], expert_wide, hidden))
        tensors[f"{layer}.ffn_down_exps.weight"] = Matrix((experts[0], hidden, expert_wide))
    metadata = _transformer(num_layers, hidden, expert_wide * experts[1], heads, 1e6)
    metadata |= {
        "attention.key_length": head_dim,
        "attention.value_length": head_dim,
        "expert_count": experts[0],
        "expert_used_count": experts[1],
        "expert_feed_forward_length": expert_wide,
    }
    return Shape("qwen3moe", vocab, metadata, tensors)


def _ends(hidden: int, vocab: int, *, tied: bool = False) -> dict[str, Matrix | Vector]:
    head = {} if tied else {"output.weight": Matrix((vocab, hidden))}
    return {
        "token_embd.weight": Matrix((vocab, hidden)),
        "output_norm.weight": _norm(hidden),
        **head,
    }


def _attention(
    layer: str, hidden: int, heads: tuple[int, int], head_dim: int
) -> dict[str, Matrix | Vector]:
    queries, keys = (count * head_dim for count in heads)
    return {
        f"{layer}.attn_norm.weight": _norm(hidden),
        f"{layer}.attn_q.weight": Matrix((queries, hidden)),
        f"{layer}.attn_k.weight": Matrix((keys, hidden)),
        f"{layer}.attn_v.weight": Matrix((keys, hidden)),
        f"{layer}.attn_output.weight": Matrix((hidden, queries)),
    }


def _transformer(
    num_layers: int, hidden: int, wide: int, heads: tuple[int, int], theta: float
) -> dict[str, Value]:
    return {
        "context_length": 8192,
        "embedding_length": hidden,
        "block_count": num_layers,
        "feed_forward_length": wide,
        "attention.head_count": heads[0],
        "attention.head_count_kv": heads[1],
        "attention.layer_norm_rms_epsilon": 1e-5,
        "rope.freq_base": theta,
    }


def _layers(num_layers: int) -> list[str]:
    return [f"blk.{index}" for index in range(num_layers)]


def _norm(size: int) -> Vector:
    return Vector((size,), centre=1.0)
