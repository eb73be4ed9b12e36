"""Nemotron-H and Nemotron 3: each layer is one part, of Mamba-2, attention, an MLP or experts.

Checked against transformers 5.23 (models/nemotron_h) and llama.cpp (src/models/nemotron-h.cpp).
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta
from msgspec.structs import force_setattr
from torch import Tensor

from engine.cache.spec import State
from engine.kernels import ops
from engine.kernels.routing import Routing
from engine.models.experts import check_top_k
from engine.models.family import Family
from engine.models.hybrid import HybridConfig, one_value
from engine.models.meta import GGUFLayers, Size, gguf, gguf_has
from engine.models.names import Name, Names
from engine.models.ssm import BACKBONE_NAMES, ssm_names
from engine.nn.attention import Attention
from engine.nn.decoder import CausalLM
from engine.nn.latent_moe import LatentMoE, PlainExperts
from engine.nn.layer import FeedForward, Layer, Mixer, rms_norm
from engine.nn.linear import Linear
from engine.nn.mamba2 import GatedNorm, Mamba2
from engine.nn.mixer_layer import MixerLayer
from engine.nn.mlp import MLP
from engine.nn.module import Module
from engine.nn.moe import Router
from engine.nn.step import Step

Part = Literal["mamba", "attention", "mlp", "moe"]
Count = Annotated[int, Meta(ge=0, le=2**20)]
Layers = tuple[int, ...] | None

# Hugging Face's words, as letters of a pattern, of old and of new.
_PARTS: Mapping[str, Part] = {
    "M": "mamba",
    "*": "attention",
    "-": "mlp",
    "E": "moe",
    "linear_attention": "mamba",
    "full_attention": "attention",
    **{part: part for part in ("mamba", "attention", "mlp", "moe")},
}


class Config(HybridConfig, frozen=True, kw_only=True):
    """layer_types wins over hybrid_override_pattern, a letter for each layer.

    time_step_min: what dt is kept above; GGUF has no key for it.
    """

    num_hidden_layers: Annotated[int, Meta(ge=0, le=1024), gguf("block_count")] = 0
    intermediate_size: Count = 0
    feed_forward_sizes: Annotated[int | tuple[int, ...], gguf("feed_forward_length")] = 0
    hybrid_override_pattern: str = ""
    gguf_mamba: Annotated[Layers, GGUFLayers("ssm_in.weight")] = None
    gguf_attention: Annotated[Layers, GGUFLayers("attn_q.weight")] = None
    gguf_moe: Annotated[Layers, GGUFLayers("ffn_gate_inp.weight")] = None
    mlp_hidden_act: Literal["relu2"] = "relu2"
    mamba_hidden_act: Literal["silu"] = "silu"
    mamba_num_heads: Annotated[Size, gguf("ssm.time_step_rank")]
    mamba_head_dim: Count = 0
    mamba_inner_size: Annotated[Count, gguf("ssm.inner_size")] = 0
    ssm_state_size: Annotated[Size, gguf("ssm.state_size")]
    n_groups: Annotated[Size, gguf("ssm.group_count")] = 8
    conv_kernel: Annotated[int, Meta(ge=2, le=64), gguf("ssm.conv_kernel")] = 4
    use_conv_bias: Annotated[bool, gguf_has("blk.*.ssm_conv1d.bias")] = True
    use_bias: Annotated[bool, gguf_has("blk.*.ssm_in.bias")] = False
    time_step_min: Annotated[float, Meta(ge=0)] = 0.001
    n_routed_experts: Annotated[Count, gguf("expert_count")] = 0
    num_experts_per_tok: Annotated[Count, gguf("expert_used_count")] = 0
    expert_gating_func: Annotated[Literal[2], gguf("expert_gating_func")] = 2  # GGUF's sigmoid
    moe_intermediate_size: Annotated[Count, gguf("expert_feed_forward_length")] = 0
    moe_shared_expert_intermediate_size: Annotated[
        Count, gguf("expert_shared_feed_forward_length")
    ] = 0
    moe_latent_size: Annotated[Size | None, gguf("moe_latent_size")] = None
    n_group: Annotated[Count, gguf("expert_group_count")] = 1
    topk_group: Annotated[Count, gguf("expert_group_used_count")] = 1
    norm_topk_prob: Annotated[bool, gguf("expert_weights_norm")] = True
    routed_scaling_factor: Annotated[float, gguf("expert_weights_scale")] = 1.0

    rope_thetas: ClassVar[Mapping[str, float | None]] = {}
    hf_names: ClassVar[Mapping[str, str]] = {
        "layer_types": "layers_block_type",
        "rms_norm_eps": "layer_norm_epsilon",
    }
    hf_defaults: ClassVar[Mapping[str, Any]] = {"rms_norm_eps": 1e-5}

    def __post_init__(self) -> None:
        pattern = self.layer_types or self.hybrid_override_pattern
        force_setattr(self, "num_hidden_layers", self.num_hidden_layers or len(pattern))
        if not self.mamba_head_dim:
            force_setattr(self, "mamba_head_dim", self.mamba_inner_size // self.mamba_num_heads)
        if self.feed_forward_sizes:
            size = one_value("feed_forward_length", self.feed_forward_sizes)
            force_setattr(self, "intermediate_size", size)
        super().__post_init__()
        if self.gguf_mamba is None and len(pattern) != self.num_hidden_layers:
            raise ValueError(f"{len(pattern)} layer types, {self.num_hidden_layers} layers")
        if "moe" in map(self.part, range(self.num_hidden_layers)):
            check_top_k(self.num_experts_per_tok, self.n_routed_experts)

    def part(self, layer: int) -> Part:
        """What the layer is. Raises ValueError for a word that is none of the known."""
        found: tuple[tuple[Layers, Part], ...] = (
            (self.gguf_mamba, "mamba"),
            (self.gguf_attention, "attention"),
            (self.gguf_moe, "moe"),
        )
        if self.gguf_mamba is not None:
            return next((part for layers, part in found if layer in (layers or ())), "mlp")
        word = (self.layer_types or self.hybrid_override_pattern)[layer]
        if word not in _PARTS:
            raise ValueError(f"layer {layer} is of the unknown type {word!r}")
        return _PARTS[word]


class FeedLayer(Module):
    """A layer that works on each token by itself, and keeps nothing."""

    def __init__(self, c: Config, mixer: FeedForward) -> None:
        super().__init__()
        self.norm = rms_norm(c)
        self.mixer = mixer
        self.cache_spec = State()

    def __call__(self, x: Tensor, step: Step, cache: Any) -> Tensor:  # noqa: ARG002  # as other layers
        return ops.add(x, self.mixer(self.norm(x)))


_PART = "model.layers.{i}.mixer"

NAMES: Names = {
    **BACKBONE_NAMES,
    **ssm_names(_PART),
    f"{_PART}.dt_bias": "blk.{i}.ssm_dt.bias",
    f"{_PART}.norm": "blk.{i}.ssm_norm",
    f"{_PART}.q_proj": "blk.{i}.attn_q",
    f"{_PART}.k_proj": "blk.{i}.attn_k",
    f"{_PART}.v_proj": "blk.{i}.attn_v",
    f"{_PART}.o_proj": "blk.{i}.attn_output",
    f"{_PART}.up_proj": "blk.{i}.ffn_up",
    f"{_PART}.down_proj": "blk.{i}.ffn_down",
    f"{_PART}.gate": "blk.{i}.ffn_gate_inp",
    f"{_PART}.gate.e_score_correction_bias": "blk.{i}.exp_probs_b.bias",
    f"{_PART}.experts.up_proj": Name("blk.{i}.ffn_up_exps", hf=f"{_PART}.experts.{{n}}.up_proj"),
    f"{_PART}.experts.down_proj": Name(
        "blk.{i}.ffn_down_exps", hf=f"{_PART}.experts.{{n}}.down_proj"
    ),
    f"{_PART}.shared_experts.up_proj": "blk.{i}.ffn_up_shexp",
    f"{_PART}.shared_experts.down_proj": "blk.{i}.ffn_down_shexp",
    f"{_PART}.fc1_latent_proj": "blk.{i}.ffn_latent_down",
    f"{_PART}.fc2_latent_proj": "blk.{i}.ffn_latent_up",
}


def mamba(c: Config) -> Mamba2:
    size = c.mamba_num_heads * c.mamba_head_dim
    return Mamba2(
        c.hidden_size,
        num_heads=c.mamba_num_heads,
        head_dim=c.mamba_head_dim,
        state_size=c.ssm_state_size,
        num_groups=c.n_groups,
        kernel_size=c.conv_kernel,
        conv_bias=c.use_conv_bias,
        in_bias=c.use_bias,
        out_bias=c.use_bias,
        norm=GatedNorm(size, c.rms_norm_eps, num_groups=c.n_groups),
        dt_limits=(c.time_step_min, float("inf")),
    )


def mixture(c: Config) -> LatentMoE:
    size, latent = c.hidden_size, c.moe_latent_size
    routing = Routing(
        c.num_experts_per_tok,
        score="sigmoid",
        renormalise=c.norm_topk_prob,
        scaling=c.routed_scaling_factor,
        num_groups=max(c.n_group, 1),
        top_groups=max(c.topk_group, 1),
    )
    inner_size, num_experts = c.moe_intermediate_size, c.n_routed_experts
    shared_size = c.moe_shared_expert_intermediate_size
    return LatentMoE(
        Router(size, num_experts, routing, corrects=True),
        PlainExperts(latent or size, inner_size, num_experts, ops.relu_squared),
        MLP(c, ops.relu_squared, intermediate_size=shared_size),
        narrow=Linear(size, latent, bias=c.mlp_bias) if latent else None,
        widen=Linear(latent, size, bias=c.mlp_bias) if latent else None,
    )


def build(c: Config) -> CausalLM:
    def layer(index: int) -> Layer:
        part = c.part(index)
        if part in ("mlp", "moe"):
            feed: FeedForward = mixture(c) if part == "moe" else MLP(c, ops.relu_squared)
            return FeedLayer(c, feed)
        mixer: Mixer = mamba(c) if part == "mamba" else Attention(c, None)
        return MixerLayer(c, mixer)

    return CausalLM(c, layer)


FAMILY = Family(
    "nemotron_h",
    ("NemotronHForCausalLM",),
    ("nemotron_h",),
    ("nemotron_h", "nemotron_h_moe"),
    Config,
    build,
    NAMES,
)
