"""GLM-4.5, 4.6 and 4.7: DeepSeek's mixture of experts beside plain attention.

Checked against transformers 5.23 (models/glm4_moe) and llama.cpp (src/models/glm4-moe.cpp).
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from engine.models import qwen3_moe
from engine.models.deepseek_moe import DeepSeekMoEConfig, feed_forward, noaux_tc
from engine.models.family import Family
from engine.models.meta import gguf, gguf_has
from engine.models.names import Names
from engine.nn.attention import Attention
from engine.nn.decoder import CausalLM
from engine.nn.layer import DecoderLayer
from engine.nn.rope import rope_of


class Config(DeepSeekMoEConfig, frozen=True, kw_only=True):
    hidden_act: Literal["silu"] = "silu"
    use_qk_norm: Annotated[bool, gguf_has("blk.0.attn_q_norm.weight")] = False
    expert_gating_func: Annotated[Literal[2], gguf("expert_gating_func")] = 2  # GGUF's sigmoid

    hf_defaults: ClassVar[Mapping[str, Any]] = {
        "attention_out_bias": False,
        "first_k_dense_replace": 1,
        "n_shared_experts": 1,
        "norm_topk_prob": True,
    }


NAMES: Names = {
    **qwen3_moe.NAMES,
    "model.layers.{i}.post_attention_layernorm": "blk.{i}.post_attention_norm",
}


def build(c: Config) -> CausalLM:
    rope, routing = rope_of(c), noaux_tc(c)
    qk_norm: Literal["head"] | None = "head" if c.use_qk_norm else None

    def layer(index: int) -> DecoderLayer:
        attention = Attention(c, rope, qk_norm=qk_norm)
        return DecoderLayer(c, attention, feed_forward(c, index, routing))

    return CausalLM(c, layer)


FAMILY = Family(
    "glm4_moe",
    ("Glm4MoeForCausalLM",),
    ("glm4_moe",),
    ("glm4moe",),
    Config,
    build,
    NAMES,
)
