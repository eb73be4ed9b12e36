"""Kimi-Linear: Kimi delta attention, with latent attention in every fourth layer; no positions.

Checked against transformers 5.23 (models/kimi_linear) and llama.cpp (src/models/kimi-linear.cpp).
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta, Struct
from msgspec.structs import force_setattr

from engine.models import deepseek, llama
from engine.models.deepseek_moe import feed_forward
from engine.models.experts import MIXTRAL_NAMES
from engine.models.family import Family
from engine.models.meta import Size, gguf, gguf_has
from engine.models.names import Name, Names
from engine.models.ssm import minus_exp
from engine.nn.decoder import CausalLM
from engine.nn.kda import KimiDelta
from engine.nn.layer import DecoderLayer, Mixer
from engine.nn.mla import LatentAttention

LayerType = Literal["linear_attention", "full_attention"]
NumHeads = Annotated[int, Meta(ge=0, le=4096)]


class LinearAttention(Struct, frozen=True):
    """What config.json says of the layers that do not attend. Layers are counted from 1."""

    head_dim: Size
    num_heads: Annotated[int, Meta(ge=1, le=4096)]
    short_conv_kernel_size: int = 4
    full_attn_layers: tuple[int, ...] = ()
    kda_layers: tuple[int, ...] = ()

    def layer_type(self, number: int) -> LayerType:
        if (number in self.full_attn_layers) == (number in self.kda_layers):
            raise ValueError(f"linear_attn_config does not say what layer {number} is")
        return "full_attention" if number in self.full_attn_layers else "linear_attention"


class Config(deepseek.Config, frozen=True, kw_only=True):
    """kv_heads: GGUF's num_key_value_heads, by layer, with 0 for one that does not attend.

    What linear_attn_config says, transformers itself writes as linear_* and layer_types.
    """

    num_key_value_heads: NumHeads = 0
    kv_heads: Annotated[tuple[int, ...] | int | None, gguf("attention.head_count_kv")] = None
    layer_types: tuple[LayerType, ...] = ()
    linear_attn_config: LinearAttention | None = None
    linear_key_head_dim: Annotated[Size, gguf("kda.head_dim")] = 128
    linear_value_head_dim: Annotated[Size, gguf("kda.head_dim")] = 128
    linear_num_key_heads: NumHeads = 0
    linear_num_value_heads: NumHeads = 0
    linear_conv_kernel_dim: Annotated[int, Meta(ge=2, le=64), gguf("ssm.conv_kernel")] = 4
    is_kv_b_split: Annotated[bool, gguf_has("blk.*.attn_k_b.weight")] = False
    mla_use_nope: Literal[True] = True
    use_grouped_topk: Literal[True] = True
    mlp_layer_types: tuple[Literal["dense", "sparse"], ...] = ()
    norm_topk_prob: Annotated[bool, gguf("expert_weights_norm")] = True

    rope_thetas: ClassVar[Mapping[str, float | None]] = {}
    hf_names: ClassVar[Mapping[str, str]] = {
        "max_position_embeddings": "model_max_length",
        "n_routed_experts": "num_experts",
        "n_shared_experts": "num_shared_experts",
        "n_group": "num_expert_group",
        "num_experts_per_tok": "num_experts_per_token",
        "norm_topk_prob": "moe_renormalize",
        "scoring_func": "moe_router_activation_func",
        "linear_key_head_dim": "linear_head_dim",
        "linear_value_head_dim": "linear_head_dim",
        "linear_num_key_heads": "linear_num_heads",
        "linear_num_value_heads": "linear_num_heads",
    }
    hf_defaults: ClassVar[Mapping[str, Any]] = {"scoring_func": "sigmoid"}

    def __post_init__(self) -> None:
        self._settle_linear_attention()
        force_setattr(self, "layer_types", self.layer_types or self._listed_types())
        if len(self.layer_types) != self.num_hidden_layers:
            raise ValueError(f"{len(self.layer_types)} types of {self.num_hidden_layers} layers")
        if self.mlp_layer_types:
            force_setattr(self, "first_k_dense_replace", self.mlp_layer_types.count("dense"))
            if "dense" in self.mlp_layer_types[self.first_k_dense_replace :]:
                raise ValueError("mlp_layer_types with dense layers after sparse ones")
        super().__post_init__()

    def _settle_linear_attention(self) -> None:
        given = self.linear_attn_config
        if given is not None:
            force_setattr(self, "linear_key_head_dim", given.head_dim)
            force_setattr(self, "linear_value_head_dim", given.head_dim)
            force_setattr(self, "linear_conv_kernel_dim", given.short_conv_kernel_size)
        heads = given.num_heads if given else self.linear_num_key_heads or self.num_attention_heads
        force_setattr(self, "linear_num_key_heads", heads)
        force_setattr(self, "linear_num_value_heads", heads)

    def _listed_types(self) -> tuple[LayerType, ...]:
        count, heads = self.num_hidden_layers, self.kv_heads
        if heads is not None:
            by_layer = heads if isinstance(heads, tuple) else (heads,) * count
            return tuple("full_attention" if each else "linear_attention" for each in by_layer)
        if self.linear_attn_config is None:
            return ()
        return tuple(self.linear_attn_config.layer_type(number + 1) for number in range(count))

    def _settle_rope(self) -> None:
        """There is none."""


_MIXER = "model.layers.{i}.self_attn"
_MOE = "model.layers.{i}.block_sparse_moe"


def _shared(part: str, gguf_name: str) -> dict[str, Name]:
    ours = f"model.layers.{{i}}.mlp.shared_experts.{part}"
    return {ours: Name(f"blk.{{i}}.{gguf_name}", hf=f"{_MOE}.shared_experts.{part}")}


NAMES: Names = {
    **llama.NAMES,
    **MIXTRAL_NAMES,
    "model.layers.{i}.mlp.gate.e_score_correction_bias": Name(
        "blk.{i}.exp_probs_b.bias", hf=f"{_MOE}.gate.e_score_correction_bias"
    ),
    **_shared("gate_proj", "ffn_gate_shexp"),
    **_shared("up_proj", "ffn_up_shexp"),
    **_shared("down_proj", "ffn_down_shexp"),
    f"{_MIXER}.q_proj": "blk.{i}.attn_q",
    f"{_MIXER}.k_proj": "blk.{i}.attn_k",
    f"{_MIXER}.kv_a_proj_with_mqa": "blk.{i}.attn_kv_a_mqa",
    f"{_MIXER}.kv_a_layernorm": "blk.{i}.attn_kv_a_norm",
    f"{_MIXER}.kv_b_proj": "blk.{i}.attn_kv_b",
    f"{_MIXER}.k_b_proj": "blk.{i}.attn_k_b",
    f"{_MIXER}.v_b_proj": "blk.{i}.attn_v_b",
    f"{_MIXER}.conv1d": Name("blk.{i}.ssm_conv1d_{q,k,v}", hf=f"{_MIXER}.{{q,k,v}}_conv1d"),
    f"{_MIXER}.f_a_proj": "blk.{i}.ssm_f_a",
    f"{_MIXER}.f_b_proj": "blk.{i}.ssm_f_b",
    f"{_MIXER}.A": Name("blk.{i}.ssm_a", from_hf=minus_exp, hf=f"{_MIXER}.A_log"),
    f"{_MIXER}.dt_bias": "blk.{i}.ssm_dt.bias",
    f"{_MIXER}.b_proj": "blk.{i}.ssm_beta",
    f"{_MIXER}.g_a_proj": "blk.{i}.ssm_g_a",
    f"{_MIXER}.g_b_proj": "blk.{i}.ssm_g_b",
    f"{_MIXER}.o_norm": "blk.{i}.ssm_norm",
}


def build(c: Config) -> CausalLM:
    def mixer(layer: int) -> Mixer:
        attends = c.layer_types[layer] == "full_attention"
        return LatentAttention(c, rope=None) if attends else KimiDelta(c)

    return CausalLM(c, lambda i: DecoderLayer(c, mixer(i), feed_forward(c, i, c.routing)))


FAMILY = Family(
    "kimi_linear",
    ("KimiLinearForCausalLM",),
    ("kimi_linear",),
    ("kimi-linear",),
    Config,
    build,
    NAMES,
)
