"""Gemma 4's config: two kinds of layers with heads of their own, and shared caches."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from msgspec import Meta, Struct, field
from msgspec.structs import force_setattr, replace

from engine.models.cache_sharing import Count, SharingConfig
from engine.models.meta import GGUFLayers, gguf, gguf_has

ByLayer = Count | tuple[Count, ...]
"""One number a layer, or one for all."""


HeadDim = Annotated[int, Meta(ge=2, le=8192)]


class FullLayerSizes(Struct, frozen=True, forbid_unknown_fields=True):
    head_dim: HeadDim
    num_key_value_heads: Count = 0


class Config(SharingConfig, frozen=True, kw_only=True):
    """head_dim and num_key_value_heads are those of sliding layers, global_* those of full ones.

    per_layer_config: what transformers has written for the latter since 5.23, by layer. GGUF has sizes by layer and tensors where Hugging Face has flags: kv_heads, feed_forward_sizes,
    value_layers and has_rope_freqs are read from it alone, and give the others.
    """

    use_bidirectional_attention: Literal["vision"] | None = None
    intermediate_size: Count = 0
    num_key_value_heads: Count = 0
    num_global_key_value_heads: Count = 0
    head_dim: Annotated[HeadDim, gguf("attention.key_length_swa")]
    global_head_dim: Annotated[HeadDim, gguf("attention.key_length")]
    per_layer_config: dict[str, FullLayerSizes] = field(default_factory=dict)
    attention_k_eq_v: bool = False
    use_double_wide_mlp: bool = False
    enable_moe_block: Annotated[bool, gguf_has("blk.0.ffn_gate_inp.weight")] = False
    num_experts: Annotated[Count, gguf("expert_count")] = 0
    top_k_experts: Annotated[Count, gguf("expert_used_count")] = 0
    moe_intermediate_size: Annotated[Count, gguf("expert_feed_forward_length")] = 0
    kv_heads: Annotated[ByLayer, gguf("attention.head_count_kv")] = ()
    feed_forward_sizes: Annotated[ByLayer, gguf("feed_forward_length")] = ()
    value_layers: Annotated[tuple[int, ...] | None, GGUFLayers("attn_v.weight")] = None
    has_rope_freqs: Annotated[bool, gguf_has("rope_freqs.weight")] = True

    default_pattern: ClassVar[int] = 6
    rope_thetas: ClassVar[Mapping[str, float]] = {
        "full_attention": 1e6,
        "sliding_attention": 1e4,
    }
    hf_defaults: ClassVar[Mapping[str, Any]] = {
        "vocab_size": 262144,
        "hidden_size": 2304,
        "intermediate_size": 9216,
        "num_hidden_layers": 30,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "global_head_dim": 512,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-6,
        "sliding_window": 512,
        "tie_word_embeddings": True,
        "vocab_size_per_layer_input": 262144,
        "hidden_size_per_layer_input": 256,
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.per_layer_config:
            self._read_full_layers()
        if self.kv_heads:
            self._read_sizes_by_layer()
        if self.value_layers is not None:
            owners = range(self.num_own_caches)
            lacks_values = any(not self.slides(i) and i not in self.value_layers for i in owners)
            force_setattr(self, "attention_k_eq_v", lacks_values)
        elif not (self.attention_k_eq_v and self.num_global_key_value_heads):
            force_setattr(self, "num_global_key_value_heads", self.num_key_value_heads)
        self._check()

    def _read_full_layers(self) -> None:
        full = {str(i) for i in range(self.num_hidden_layers) if not self.slides(i)}
        sizes, *others = set(self.per_layer_config.values())
        if others or self.per_layer_config.keys() != full:
            raise ValueError("per_layer_config is not of all full layers, with the same sizes")
        force_setattr(self, "global_head_dim", sizes.head_dim)
        force_setattr(self, "num_global_key_value_heads", sizes.num_key_value_heads)

    def _read_sizes_by_layer(self) -> None:
        layers = range(self.num_hidden_layers)
        kv_heads, sizes = (_by_layer(n, layers) for n in (self.kv_heads, self.feed_forward_sizes))
        for name, slides in (("num_key_value_heads", True), ("num_global_key_value_heads", False)):
            counts = {count for i, count in enumerate(kv_heads) if self.slides(i) == slides}
            if len(counts) > 1:
                raise ValueError(f"layers of one type with {sorted(counts)} heads of keys")
            force_setattr(self, name, counts.pop() if counts else kv_heads[0])
        force_setattr(self, "intermediate_size", sizes[0])
        force_setattr(self, "use_double_wide_mlp", sizes[-1] != sizes[0])
        if sizes != [self.feed_forward_size(i) for i in layers]:
            raise ValueError(f"feed_forward_length {sizes} is not one size, or twice it at the end")

    def _check(self) -> None:
        if not self.intermediate_size:
            raise ValueError("intermediate_size is not given")
        if not self.has_rope_freqs:
            raise ValueError("the file has no rope_freqs.weight")
        for heads in (self.num_key_value_heads, self.num_global_key_value_heads):
            if not heads or self.num_attention_heads % heads:
                raise ValueError(f"{self.num_attention_heads} heads, {heads} of keys")
        if self.enable_moe_block and not 0 < self.top_k_experts <= self.num_experts:
            raise ValueError(f"{self.top_k_experts} of {self.num_experts} experts per token")

    @property
    def num_experts_per_tok(self) -> int:
        """As other families call it."""
        return self.top_k_experts

    @property
    def full_layers(self) -> Self:
        """The same with the heads of full layers, for the blocks of those."""
        heads = self.num_global_key_value_heads
        plain: ByLayer = ()
        return replace(
            self,
            head_dim=self.global_head_dim,
            num_key_value_heads=heads,
            kv_heads=plain,
            feed_forward_sizes=plain,
        )

    def feed_forward_size(self, layer: int) -> int:
        is_wide = self.use_double_wide_mlp and layer >= self.num_own_caches
        return self.intermediate_size * (2 if is_wide else 1)


def _by_layer(given: ByLayer, layers: range) -> list[int]:
    values = [given for _ in layers] if isinstance(given, int) else list(given)
    if len(values) != len(layers):
        raise ValueError(f"{len(values)} sizes, {len(layers)} layers")
    return values
