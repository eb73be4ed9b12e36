"""MiniMax-Text-01 and M1: lightning attention with full attention in every eighth layer.

Checked against transformers 5.23 (models/minimax) and llama.cpp (src/models/minimax-01.cpp).
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta
from torch import Tensor

from engine.kernels import ops
from engine.kernels.routing import Routing
from engine.models import qwen3
from engine.models.experts import MIXTRAL_NAMES, MoEConfig, NumExperts
from engine.models.family import Family
from engine.models.meta import GGUFLayers, gguf
from engine.models.names import Names
from engine.nn.attention import Attention
from engine.nn.decoder import CausalLM
from engine.nn.layer import FeedForward, Mixer, rms_norm
from engine.nn.lightning import Lightning
from engine.nn.module import Module
from engine.nn.moe import Experts, MoE, Router
from engine.nn.rope import rope_of
from engine.nn.step import Step

Factor = Annotated[float, Meta(gt=0)]
Alpha = Annotated[Factor, gguf("residual_scale")]


class Config(MoEConfig, frozen=True, kw_only=True):
    """layer_types wins over attn_type_list, whose ones stand for full attention.

    alpha, beta: factors on a part's input, which is normed, and on what the part makes of it.
    GGUF has one alpha for all. block_size: the original's chunks, of no effect on results.
    """

    hidden_act: Literal["silu"] = "silu"
    num_local_experts: NumExperts
    layer_types: tuple[Literal["linear_attention", "full_attention"], ...] = ()
    attn_type_list: tuple[Literal[0, 1], ...] = ()
    gguf_linear_layers: Annotated[tuple[int, ...] | None, GGUFLayers("attn_gate.weight")] = None
    full_attn_alpha_factor: Alpha = 1.0
    full_attn_beta_factor: Factor = 1.0
    linear_attn_alpha_factor: Alpha = 1.0
    linear_attn_beta_factor: Factor = 1.0
    mlp_alpha_factor: Alpha = 1.0
    mlp_beta_factor: Factor = 1.0
    postnorm: Literal[True] = True
    shared_intermediate_size: Literal[0] = 0
    block_size: int = 256

    rope_thetas: ClassVar[Mapping[str, float | None]] = {"full_attention": 1e6}
    hf_names: ClassVar[Mapping[str, str]] = {
        f"{ours}_{factor}_factor": f"layernorm_{theirs}_{factor}"
        for ours, theirs in (
            ("full_attn", "full_attention"),
            ("linear_attn", "linear_attention"),
            ("mlp", "mlp"),
        )
        for factor in ("alpha", "beta")
    }
    hf_defaults: ClassVar[Mapping[str, Any]] = {"rms_norm_eps": 1e-5}

    def __post_init__(self) -> None:
        super().__post_init__()
        for given in (self.layer_types, self.attn_type_list):
            if given and len(given) != self.num_hidden_layers:
                raise ValueError(f"{len(given)} layer types, {self.num_hidden_layers} layers")
        if self.gguf_linear_layers is None and not (self.layer_types or self.attn_type_list):
            raise ValueError("neither layer_types nor attn_type_list")

    def is_linear(self, layer: int) -> bool:
        """Whether the layer has lightning attention."""
        if self.gguf_linear_layers is not None:
            return layer in self.gguf_linear_layers
        if self.layer_types:
            return self.layer_types[layer] == "linear_attention"
        return self.attn_type_list[layer] == 0


class NormedResidualLayer(Module):
    """Each part reads a norm of what came before, and what it makes is added to that norm.

    scales: alpha and beta of attention, then of the experts.
    """

    def __init__(
        self, c: Config, self_attn: Mixer, mlp: FeedForward, scales: tuple[float, ...]
    ) -> None:
        super().__init__()
        self.input_layernorm = rms_norm(c)
        self.self_attn = self_attn
        self.post_attention_layernorm = rms_norm(c)
        self.mlp = mlp
        self.cache_spec = self_attn.cache_spec
        self._scales = scales

    def __call__(self, x: Tensor, step: Step, cache: Any) -> Tensor:
        attn_alpha, attn_beta, mlp_alpha, mlp_beta = self._scales
        x = self.input_layernorm(x)
        mixed = ops.scale(self.self_attn(x, step, cache), attn_beta)
        x = self.post_attention_layernorm(ops.add(ops.scale(x, attn_alpha), mixed))
        return ops.add(ops.scale(x, mlp_alpha), ops.scale(self.mlp(x), mlp_beta))


NAMES: Names = {
    **qwen3.NAMES,
    **MIXTRAL_NAMES,
    "model.layers.{i}.self_attn.qkv_proj": "blk.{i}.attn_qkv",
    "model.layers.{i}.self_attn.norm": "blk.{i}.attn_norm_2",
    "model.layers.{i}.self_attn.output_gate": "blk.{i}.attn_gate",
    "model.layers.{i}.self_attn.out_proj": "blk.{i}.attn_output",
}


def mixture(c: Config) -> MoE:
    routing = Routing(c.num_experts_per_tok, renormalise=True)
    router = Router(c.hidden_size, c.num_local_experts, routing)
    return MoE(router, Experts(c.hidden_size, c.intermediate_size, c.num_local_experts))


def build(c: Config) -> CausalLM:
    rope = rope_of(c)
    mlp_scales = c.mlp_alpha_factor, c.mlp_beta_factor

    def layer(index: int) -> NormedResidualLayer:
        if c.is_linear(index):
            scales = c.linear_attn_alpha_factor, c.linear_attn_beta_factor, *mlp_scales
            return NormedResidualLayer(c, Lightning(c, index), mixture(c), scales)
        scales = c.full_attn_alpha_factor, c.full_attn_beta_factor, *mlp_scales
        return NormedResidualLayer(c, Attention(c, rope), mixture(c), scales)

    return CausalLM(c, layer)


FAMILY = Family(
    "minimax",
    ("MiniMaxForCausalLM", "MiniMaxText01ForCausalLM", "MiniMaxM1ForCausalLM"),
    ("minimax", "minimax_text_01", "minimax_m1"),
    ("minimax-01",),
    Config,
    build,
    NAMES,
    unused=("*.self_attn.slope_rate", "*.self_attn.*_decay"),  # computed from the config
)
