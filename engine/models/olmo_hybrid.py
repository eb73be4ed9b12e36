"""OLMo hybrid: gated delta networks, with OLMo 2's attention in every fourth layer.

Checked against transformers 5.23 (models/olmo_hybrid), with the names that files are published
with. GGUF has no such architecture.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta
from msgspec.structs import force_setattr
from torch import Tensor

from engine.kernels import ops
from engine.models import olmo2
from engine.models.family import Family
from engine.models.hybrid import HybridConfig
from engine.models.names import Name, Names
from engine.models.ssm import minus_exp
from engine.nn.attention import Attention
from engine.nn.decoder import CausalLM
from engine.nn.gated_delta import GatedDeltaNet
from engine.nn.layer import Layer, PostNormLayer, rms_norm
from engine.nn.mlp import GatedMLP
from engine.nn.module import Module
from engine.nn.rope import rope_of
from engine.nn.step import Step

_NORM_EPS = 1e-5
"""Of what is read from a state, whatever the config says of the other norms."""


class Config(HybridConfig, frozen=True, kw_only=True):
    """Sizes of linear attention that are left out follow from the others.

    linear_allow_neg_eigval: what is written may be taken twice from what was there, arXiv:2411.12537.
    """

    hidden_act: Literal["silu"] = "silu"
    layer_types: tuple[Literal["linear_attention", "full_attention"], ...] = ()
    linear_num_key_heads: Annotated[int, Meta(ge=0, le=4096)] = 0
    linear_num_value_heads: Annotated[int, Meta(ge=0, le=4096)] = 0
    linear_key_head_dim: Annotated[int, Meta(ge=0, le=8192)] = 0
    linear_value_head_dim: Annotated[int, Meta(ge=0, le=8192)] = 0
    linear_conv_kernel_dim: Annotated[int, Meta(ge=2, le=64)] = 4
    linear_allow_neg_eigval: bool = True

    rope_thetas: ClassVar[Mapping[str, float | None]] = {"full_attention": None}
    hf_defaults: ClassVar[Mapping[str, Any]] = {"rms_norm_eps": 1e-6}

    def __post_init__(self) -> None:
        super().__post_init__()
        for heads in ("linear_num_key_heads", "linear_num_value_heads"):
            force_setattr(self, heads, getattr(self, heads) or self.num_attention_heads)
        key_dim = self.linear_key_head_dim or int(
            0.75 * self.hidden_size / self.linear_num_key_heads
        )
        force_setattr(self, "linear_key_head_dim", key_dim)
        force_setattr(self, "linear_value_head_dim", self.linear_value_head_dim or 2 * key_dim)

    def attends(self, layer: int) -> bool:
        return super().attends(layer) if self.layer_types else layer % 4 == 3


class DeltaLayer(Module):
    """Pre-norm, unlike the layers that attend, and with names of its own for the norms."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.attention_layer_norm = rms_norm(c)
        beta = 2.0 if c.linear_allow_neg_eigval else 1.0
        self.linear_attn = GatedDeltaNet(c, separate=True, max_beta=beta, norm_eps=_NORM_EPS)
        self.feedforward_layer_norm = rms_norm(c)
        self.mlp = GatedMLP(c)
        self.cache_spec = self.linear_attn.cache_spec

    def __call__(self, x: Tensor, step: Step, cache: Any) -> Tensor:
        x = ops.add(x, self.linear_attn(self.attention_layer_norm(x), step, cache))
        return ops.add(x, self.mlp(self.feedforward_layer_norm(x)))


_MIXER = "model.layers.{i}.linear_attn"

NAMES: Names = {
    **olmo2.NAMES,
    f"{_MIXER}.in_proj_z": Name("", hf=f"{_MIXER}.g_proj"),
    f"{_MIXER}.in_proj_b": Name("", hf=f"{_MIXER}.b_proj"),
    f"{_MIXER}.in_proj_a": Name("", hf=f"{_MIXER}.a_proj"),
    f"{_MIXER}.conv1d": Name("", hf=f"{_MIXER}.{{q,k,v}}_conv1d"),
    f"{_MIXER}.A": Name("", from_hf=minus_exp, hf=f"{_MIXER}.A_log"),
    f"{_MIXER}.norm": Name("", hf=f"{_MIXER}.o_norm"),
    f"{_MIXER}.out_proj": Name("", hf=f"{_MIXER}.o_proj"),
}


def build(c: Config) -> CausalLM:
    rope = rope_of(c) if c.rope_parameters else None

    def layer(index: int) -> Layer:
        if c.attends(index):
            return PostNormLayer(c, Attention(c, rope, qk_norm="full"), GatedMLP(c))
        return DeltaLayer(c)

    return CausalLM(c, layer)


FAMILY = Family(
    "olmo_hybrid", ("OlmoHybridForCausalLM",), ("olmo_hybrid",), (), Config, build, NAMES
)
