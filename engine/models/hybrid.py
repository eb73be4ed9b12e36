"""What families share some of whose layers attend, and others keep a state instead."""

from dataclasses import replace
from typing import Annotated

from msgspec import Meta
from msgspec.structs import force_setattr

from engine.models.meta import Config, gguf, gguf_has
from engine.models.names import Name, Names

ByLayer = int | tuple[int, ...]
"""GGUF's value of each layer, or the one that all have."""


class HybridConfig(Config, frozen=True, kw_only=True):
    """kv_heads: GGUF's num_key_value_heads, by layer, with 0 for one that does not attend."""

    num_key_value_heads: Annotated[int, Meta(ge=0)] = 0
    kv_heads: Annotated[ByLayer | None, gguf("attention.head_count_kv")] = None
    layer_types: tuple[str, ...] = ()
    # Not of layer 0, which may be of another kind.
    attention_bias: Annotated[bool, gguf_has("blk.*.attn_q.bias")] = False
    attention_out_bias: Annotated[bool | None, gguf_has("blk.*.attn_output.bias")] = None
    mlp_bias: Annotated[bool, gguf_has("blk.*.ffn_up.bias")] = False

    def __post_init__(self) -> None:
        if self.kv_heads:
            heads = one_value("attention.head_count_kv", self.kv_heads)
            force_setattr(self, "num_key_value_heads", heads)
        super().__post_init__()
        for given in (self.layer_types, self.kv_heads):
            if isinstance(given, tuple) and len(given) not in (0, self.num_hidden_layers):
                raise ValueError(f"{len(given)} layer types, {self.num_hidden_layers} layers")

    def attends(self, layer: int) -> bool:
        """Whether the layer keeps keys and values. Without a word on it, all do."""
        if self.kv_heads is not None:
            heads = self.kv_heads
            return (heads if isinstance(heads, int) else heads[layer]) > 0
        return not self.layer_types or self.layer_types[layer] in ("attention", "full_attention")


def moved(names: Names, theirs: str, ours: str) -> Names:
    """Names whose paths are Hugging Face's, for blocks that stand at another part of the path."""
    found: dict[str, Name] = {}
    for path, entry in names.items():
        name = entry if isinstance(entry, Name) else Name(entry)
        found[path.replace(theirs, ours)] = replace(name, hf=name.hf or path)
    return found


_STORED = "model.layers.{i}.feed_forward"

FEED_FORWARD_NAMES: Names = {
    "model.layers.{i}.post_attention_layernorm": Name(
        "blk.{i}.ffn_norm", hf="model.layers.{i}.pre_ff_layernorm"
    ),
    "model.layers.{i}.mlp.gate_proj": Name("blk.{i}.ffn_gate", hf=f"{_STORED}.gate_proj"),
    "model.layers.{i}.mlp.up_proj": Name("blk.{i}.ffn_up", hf=f"{_STORED}.up_proj"),
    "model.layers.{i}.mlp.down_proj": Name("blk.{i}.ffn_down", hf=f"{_STORED}.down_proj"),
    "model.norm": Name("output_norm", hf="model.final_layernorm"),
}
"""Where Jamba and Bamba depart from Llama."""


def one_value(key: str, by_layer: ByLayer) -> int:
    """What all layers have that have any. Raises ValueError where they differ."""
    given = {by_layer} if isinstance(by_layer, int) else set(by_layer) - {0}
    if len(given) > 1:
        raise ValueError(f"{key} of {sorted(given)} in one model is not supported")
    return next(iter(given), 0)
