"""Gemma 4, the text model alone or inside its wrapper: E2B and E4B, 31B, and 26B-A4B with experts.

Full layers have heads of another size than sliding ones. The last layers may read the cache of an
earlier one, and per-layer embeddings and experts stand beside what Gemma 3 has.
Checked against transformers 5.23 (models/gemma4) and llama.cpp (src/models/gemma4.cpp).
"""

from torch import Tensor

from engine.cache.paged_kv import PagedKV
from engine.kernels import ops
from engine.kernels.routing import Routing
from engine.models.cache_sharing import UNUSED, per_layer_names
from engine.models.family import Family, Spread
from engine.models.gemma4_config import Config
from engine.models.llama import NAMES as LLAMA_NAMES
from engine.models.names import Fused, Name, Names
from engine.nn.decoder import CausalLM
from engine.nn.layer import FeedForward, Mixer, SandwichLayer, rms_norm
from engine.nn.mlp import GatedMLP
from engine.nn.module import Module, Vector
from engine.nn.moe import Experts, Router, combined
from engine.nn.normed_attention import BorrowingAttention, NormedAttention
from engine.nn.per_layer import PerLayerGate, PerLayerInputs
from engine.nn.rope import rope_of
from engine.nn.step import Step

_LAYER = "model.layers.{i}"

NAMES: Names = {
    **LLAMA_NAMES,
    "model.stream.full_rope.inv_freq": "rope_freqs.weight",
    **per_layer_names("model.stream.per_layer"),
    f"{_LAYER}.self_attn.q_proj": "blk.{i}.attn_q",
    f"{_LAYER}.self_attn.k_proj": "blk.{i}.attn_k",
    f"{_LAYER}.self_attn.q_norm": "blk.{i}.attn_q_norm",
    f"{_LAYER}.self_attn.k_norm": "blk.{i}.attn_k_norm",
    f"{_LAYER}.post_attention_layernorm": "blk.{i}.post_attention_norm",
    f"{_LAYER}.pre_feedforward_layernorm": "blk.{i}.ffn_norm",
    f"{_LAYER}.post_feedforward_layernorm": "blk.{i}.post_ffw_norm",
    f"{_LAYER}.layer_scalar": "blk.{i}.layer_output_scale.weight",
    f"{_LAYER}.router": Name("blk.{i}.ffn_gate_inp", hf=f"{_LAYER}.router.proj"),
    f"{_LAYER}.router.scale": "blk.{i}.ffn_gate_inp.scale",
    f"{_LAYER}.router.per_expert_scale": "blk.{i}.ffn_down_exps.scale",
    f"{_LAYER}.experts.gate_proj": "blk.{i}.ffn_gate_exps",
    f"{_LAYER}.experts.up_proj": "blk.{i}.ffn_up_exps",
    f"{_LAYER}.experts.down_proj": "blk.{i}.ffn_down_exps",
    f"{_LAYER}.pre_feedforward_layernorm_2": "blk.{i}.pre_ffw_norm_2",
    f"{_LAYER}.post_feedforward_layernorm_1": "blk.{i}.post_ffw_norm_1",
    f"{_LAYER}.post_feedforward_layernorm_2": "blk.{i}.post_ffw_norm_2",
}


class Stream(Module):
    """The ropes, each under a name of its own, and the per-layer inputs of models that have them."""

    def __init__(self, c: Config, full: Config) -> None:
        super().__init__()
        self.full_rope = rope_of(full, "full_attention")
        self.sliding_rope = rope_of(c, "sliding_attention")
        self.per_layer = PerLayerInputs(c) if c.hidden_size_per_layer_input else None

    def enter(self, x: Tensor, step: Step) -> Tensor:
        if self.per_layer is not None:
            self.per_layer.compute(x, step)
        return x

    def leave(self, x: Tensor) -> Tensor:
        return x


class Layer(SandwichLayer):
    """per_layer: what is added at the end, before all is scaled by one learned number."""

    layer_scalar: Tensor

    def __init__(
        self, c: Config, self_attn: Mixer, mlp: FeedForward, per_layer: PerLayerGate | None
    ) -> None:
        super().__init__(c, self_attn, mlp)
        self.per_layer = per_layer
        self.slots["layer_scalar"] = Vector(1, wide=True)

    def __call__(self, x: Tensor, step: Step, cache: PagedKV) -> Tensor:
        x = super().__call__(x, step, cache)
        if self.per_layer is not None:
            x = ops.add(x, self.per_layer(x, step))
        return ops.mul(x, self.layer_scalar)


class ScaledRouter(Router):
    """Reads x normed and scaled, and gives each expert's weight a factor of its own."""

    scale: Tensor
    per_expert_scale: Tensor

    def __init__(self, c: Config) -> None:
        routing = Routing(c.top_k_experts, renormalise=True)
        super().__init__(c.hidden_size, c.num_experts, routing)
        self.slots["scale"] = Vector(c.hidden_size, wide=True)
        self.slots["per_expert_scale"] = Vector(c.num_experts, wide=True)
        self._eps = c.rms_norm_eps
        self._factor = c.hidden_size**-0.5

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        normed = ops.scale(ops.rms_norm(x, self.scale, self._eps), self._factor)
        chosen, weights = super().__call__(normed)
        return chosen, ops.scale_by(weights, self.per_expert_scale, chosen)


class MoELayer(Layer):
    """Experts beside the dense network, each with norms of its own; the router reads x itself."""

    def __init__(
        self, c: Config, self_attn: Mixer, mlp: FeedForward, per_layer: PerLayerGate | None
    ) -> None:
        super().__init__(c, self_attn, mlp, per_layer)
        sizes = c.hidden_size, c.moe_intermediate_size, c.num_experts
        self.router = ScaledRouter(c)
        self.experts = Experts(*sizes, act=ops.gelu_tanh_mul)
        self.pre_feedforward_layernorm_2 = rms_norm(c)
        self.post_feedforward_layernorm_1 = rms_norm(c)
        self.post_feedforward_layernorm_2 = rms_norm(c)

    def feed(self, x: Tensor) -> Tensor:
        dense = self.post_feedforward_layernorm_1(super().feed(x))
        chosen, weights = self.router(x)
        outputs = self.experts(self.pre_feedforward_layernorm_2(x), chosen)
        mixed = combined(outputs, weights, self.experts.down_proj)
        sparse = self.post_feedforward_layernorm_2(mixed)
        return ops.add(dense, sparse)


def build(c: Config) -> CausalLM:
    full = c.full_layers
    stream = Stream(c, full)

    def attention(index: int) -> Mixer:
        sizes, rope = (c, stream.sliding_rope) if c.slides(index) else (full, stream.full_rope)
        if index >= c.num_own_caches:
            return BorrowingAttention(sizes, rope, window=c.window(index))
        keys_as_values = c.attention_k_eq_v and not c.slides(index)
        return NormedAttention(sizes, rope, window=c.window(index), keys_as_values=keys_as_values)

    def layer(index: int) -> Layer:
        mlp = GatedMLP(c, ops.gelu_tanh_mul, intermediate_size=c.feed_forward_size(index))
        gate = PerLayerGate(c, stream.per_layer, index) if stream.per_layer else None
        kind = MoELayer if c.enable_moe_block else Layer
        return kind(c, attention(index), mlp, gate)

    return CausalLM(
        c,
        layer,
        embed_scale=c.hidden_size**0.5,
        final_softcap=c.final_logit_softcapping,
        stream=stream,
        cache_owners=c.cache_owners,
    )


FAMILY = Family(
    "gemma4",
    ("Gemma4ForCausalLM", "Gemma4ForConditionalGeneration"),
    ("gemma4_text", "gemma4"),
    ("gemma4",),
    Config,
    build,
    NAMES,
    unused=UNUSED,
    fused=(Fused("experts.gate_up_proj", ("experts.gate_proj", "experts.up_proj")),),
    spreads=Spread(kv_heads=("num_global_key_value_heads",)),
)
