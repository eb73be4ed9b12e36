"""DeepSeek V2, V2-Lite, Coder-V2, V3, V3.1 and R1; Kimi K2 and, in its wrapper, K2.5.

Checked against transformers 5.23 (models/deepseek_v2, models/deepseek_v3, models/kimi_k25) and
llama.cpp (src/models/deepseek2.cpp). Where GGUF's V2 with groups is concerned they differ: a group
is as good as its best expert, as published, not as its best two.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import torch
from msgspec.structs import force_setattr, replace
from torch import Tensor

from engine.kernels.routing import Routing
from engine.models import llama
from engine.models.deepseek_moe import Count, DeepSeekMoEConfig, feed_forward, noaux_tc
from engine.models.experts import MOE_NAMES
from engine.models.family import Family
from engine.models.meta import Config as BaseConfig
from engine.models.meta import Size, gguf, gguf_has
from engine.models.names import Name, Names, Transform
from engine.nn.decoder import CausalLM
from engine.nn.layer import DecoderLayer
from engine.nn.mla import LatentAttention
from engine.nn.rope import Rope

_V3 = ("deepseek_v3", "deepseek_v32", "kimi_k2")
_SIGMOID = 2  # GGUF's expert_gating_func


class Config(DeepSeekMoEConfig, frozen=True, kw_only=True):
    """head_dim and num_key_value_heads are those of the cache: one latent that all heads share.

    GGUF has a head's own sizes under *_mla. Files from before May 2025 have them where the cache's
    are now, and kv_b_proj in one piece.
    """

    model_type: str = ""
    hidden_act: Literal["silu"] = "silu"
    moe_layer_freq: Literal[1] = 1
    rope_interleave: bool = True
    q_lora_rank: Annotated[Count | None, gguf("attention.q_lora_rank")] = None
    kv_lora_rank: Annotated[Size, gguf("attention.kv_lora_rank")]
    qk_nope_head_dim: Count = 0
    qk_rope_head_dim: Annotated[Size, gguf("rope.dimension_count")]
    v_head_dim: Annotated[Count, gguf("attention.value_length_mla")] = 0
    key_length_mla: Annotated[Count, gguf("attention.key_length_mla")] = 0
    value_length: Annotated[Count, gguf("attention.value_length")] = 0
    is_kv_b_split: Annotated[bool, gguf_has("blk.0.attn_k_b.weight")] = False
    yarn_log_multiplier: Annotated[float, gguf("rope.scaling.yarn_log_multiplier")] = 0

    scoring_func: Literal["softmax", "sigmoid", ""] = ""
    topk_method: Literal["greedy", "group_limited_greedy", "noaux_tc", ""] = ""
    expert_gating_func: Annotated[int, gguf("expert_gating_func")] = 0
    has_correction: Annotated[bool, gguf_has("blk.*.exp_probs_b.bias")] = False

    hf_defaults: ClassVar[Mapping[str, Any]] = {"q_lora_rank": 1536}

    def __post_init__(self) -> None:
        self._settle_sizes()
        self._settle_rope()
        self._settle_routing()
        super().__post_init__()

    def _settle_sizes(self) -> None:
        if not self.qk_nope_head_dim:
            whole = self.key_length_mla or self.head_dim
            force_setattr(self, "qk_nope_head_dim", whole - self.qk_rope_head_dim)
        if not self.v_head_dim:
            force_setattr(self, "v_head_dim", self.value_length)
        if self.qk_nope_head_dim < 1 or self.v_head_dim < 1 or self.qk_rope_head_dim % 2:
            sizes = self.qk_nope_head_dim, self.qk_rope_head_dim, self.v_head_dim
            raise ValueError(f"heads have sizes {sizes}, without rope, with rope, of values")
        force_setattr(self, "head_dim", self.kv_lora_rank + self.qk_rope_head_dim)
        force_setattr(self, "num_key_value_heads", 1)

    def _settle_rope(self) -> None:
        # It turns all of the part of a head that is its own.
        rope = replace(self.rope_parameters["full_attention"], partial_rotary_factor=1.0)
        if self.yarn_log_multiplier:
            # GGUF has 0.1 of mscale_all_dim, and no key for mscale, which is published the same.
            scale = self.yarn_log_multiplier / 0.1
            rope = replace(rope, mscale=scale, mscale_all_dim=scale)
        force_setattr(self, "rope_parameters", {"full_attention": rope})

    def _settle_routing(self) -> None:
        says_sigmoid = self.scoring_func == "sigmoid" or self.expert_gating_func == _SIGMOID
        if not self.topk_method:
            # V3's configs may leave it out, and old files of V3 say softmax: the tensor decides.
            is_v3 = self.model_type in _V3 or self.has_correction or says_sigmoid
            v2 = "group_limited_greedy" if self.n_group > 1 else "greedy"
            force_setattr(self, "topk_method", "noaux_tc" if is_v3 else v2)
        if says_sigmoid and self.topk_method != "noaux_tc":
            raise ValueError(f"topk_method {self.topk_method} of sigmoids is not supported")

    @property
    def routing(self) -> Routing:
        if self.topk_method == "noaux_tc":
            return noaux_tc(self)
        is_grouped = self.topk_method == "group_limited_greedy"
        return Routing(
            self.num_experts_per_tok,
            renormalise=self.norm_topk_prob,
            scaling=self.routed_scaling_factor,
            num_groups=max(self.n_group, 1) if is_grouped else 1,
            top_groups=max(self.topk_group, 1) if is_grouped else 1,
            group_score="best",
        )


def halves(heads: str, plain: str) -> Transform:
    """Puts rope's rows in the order of our ropes: from pairs (2i, 2i + 1) to pairs (i, i + n).

    Both formats store pairs. heads: the config's key for how many heads the rows belong to;
    plain: for how many rows of each come first and are not turned.
    """

    def apply(rows: Tensor, config: BaseConfig) -> Tensor:
        if not getattr(config, "rope_interleave", True):
            return rows
        by_head = rows.view(getattr(config, heads), -1, *rows.shape[1:])
        first = getattr(config, plain)
        pairs = by_head[:, first:].reshape(len(by_head), -1, 2, *rows.shape[1:])
        turned = pairs.transpose(1, 2).flatten(1, 2)
        return torch.cat([by_head[:, :first], turned], dim=1).flatten(0, 1)

    return apply


_ATTENTION = "model.layers.{i}.self_attn"
_Q = halves("num_attention_heads", "qk_nope_head_dim")
_KV = halves("num_key_value_heads", "kv_lora_rank")

NAMES: Names = {
    **llama.NAMES,
    **MOE_NAMES,
    f"{_ATTENTION}.q_proj": Name("blk.{i}.attn_q", _Q, _Q),
    f"{_ATTENTION}.q_a_proj": "blk.{i}.attn_q_a",
    f"{_ATTENTION}.q_a_layernorm": "blk.{i}.attn_q_a_norm",
    f"{_ATTENTION}.q_b_proj": Name("blk.{i}.attn_q_b", _Q, _Q),
    f"{_ATTENTION}.kv_a_proj_with_mqa": Name("blk.{i}.attn_kv_a_mqa", _KV, _KV),
    f"{_ATTENTION}.kv_a_layernorm": "blk.{i}.attn_kv_a_norm",
    f"{_ATTENTION}.kv_b_proj": "blk.{i}.attn_kv_b",
    f"{_ATTENTION}.k_b_proj": "blk.{i}.attn_k_b",
    f"{_ATTENTION}.v_b_proj": "blk.{i}.attn_v_b",
}


def build(c: Config) -> CausalLM:
    rope = Rope(c.rope_parameters["full_attention"], c.qk_rope_head_dim, c.max_position_embeddings)

    def layer(index: int) -> DecoderLayer:
        return DecoderLayer(c, LatentAttention(c, rope), feed_forward(c, index, c.routing))

    return CausalLM(c, layer)


FAMILY = Family(
    "deepseek",
    ("DeepseekV2ForCausalLM", "DeepseekV3ForCausalLM", "KimiK25ForConditionalGeneration"),
    ("deepseek_v2", "deepseek_v3", "kimi_k2", "kimi_k25"),
    ("deepseek2",),
    Config,
    build,
    NAMES,
)
