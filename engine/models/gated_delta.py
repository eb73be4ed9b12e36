"""What Qwen's families of gated delta networks share, and where their tensors are."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta
from msgspec.structs import force_setattr

from engine.models import qwen3
from engine.models.hybrid import HybridConfig
from engine.models.meta import Size, gguf
from engine.models.names import Name, Names, plus_one
from engine.models.ssm import minus_exp
from engine.nn.gated_attention import GatedAttention
from engine.nn.gated_delta import GatedDeltaNet
from engine.nn.layer import Mixer
from engine.nn.rope import Rope

LayerType = Literal["linear_attention", "full_attention"]
NumHeads = Annotated[int, Meta(ge=1, le=4096)]


class DeltaConfig(HybridConfig, frozen=True, kw_only=True):
    """Layers attend as layer_types say, or GGUF's recurrent_layers, or else at an interval.

    inner_size: GGUF's word for how large all heads of values are together.
    """

    hidden_act: Literal["silu"] = "silu"
    attn_output_gate: Literal[True] = True
    layer_types: tuple[LayerType, ...] = ()
    recurrent_layers: Annotated[
        tuple[bool, ...] | bool | None, gguf("attention.recurrent_layers")
    ] = None
    full_attention_interval: Annotated[int, Meta(ge=1), gguf("full_attention_interval")] = 4
    linear_conv_kernel_dim: Annotated[int, Meta(ge=2, le=64), gguf("ssm.conv_kernel")] = 4
    linear_key_head_dim: Annotated[Size, gguf("ssm.state_size")] = 128
    linear_value_head_dim: Size = 128
    linear_num_key_heads: Annotated[NumHeads, gguf("ssm.group_count")] = 16
    linear_num_value_heads: Annotated[NumHeads, gguf("ssm.time_step_rank")] = 32
    inner_size: Annotated[int, Meta(ge=0), gguf("ssm.inner_size")] = 0

    hf_defaults: ClassVar[Mapping[str, Any]] = {"head_dim": 256, "partial_rotary_factor": 0.25}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.inner_size:
            size = self.inner_size // self.linear_num_value_heads
            force_setattr(self, "linear_value_head_dim", size)
        if self.linear_num_value_heads % self.linear_num_key_heads:
            heads = f"{self.linear_num_value_heads} heads, {self.linear_num_key_heads} of keys"
            raise ValueError(f"linear attention of {heads}: not a multiple")
        listed = self.recurrent_layers
        if isinstance(listed, tuple) and len(listed) < self.num_hidden_layers:
            raise ValueError(f"{len(listed)} recurrent_layers, {self.num_hidden_layers} layers")

    def attends(self, layer: int) -> bool:
        if self.layer_types:
            return super().attends(layer)
        recurrent = self.recurrent_layers
        if recurrent is not None:  # one value where all layers agree
            return not (recurrent if isinstance(recurrent, bool) else recurrent[layer])
        return (layer + 1) % self.full_attention_interval == 0


_HF = "model.layers.{i}.linear_attn"
_OURS = "model.layers.{i}.self_attn"

NAMES: Names = {
    **qwen3.NAMES,
    "model.layers.{i}.input_layernorm": Name("blk.{i}.attn_norm", from_hf=plus_one),
    "model.layers.{i}.post_attention_layernorm": Name(
        "blk.{i}.post_attention_norm", from_hf=plus_one
    ),
    "model.norm": Name("output_norm", from_hf=plus_one),
    f"{_OURS}.q_norm": Name("blk.{i}.attn_q_norm", from_hf=plus_one),
    f"{_OURS}.k_norm": Name("blk.{i}.attn_k_norm", from_hf=plus_one),
    f"{_OURS}.in_proj_qkv": Name("blk.{i}.attn_qkv", hf=f"{_HF}.in_proj_qkv"),
    f"{_OURS}.in_proj_z": Name("blk.{i}.attn_gate", hf=f"{_HF}.in_proj_z"),
    f"{_OURS}.in_proj_b": Name("blk.{i}.ssm_beta", hf=f"{_HF}.in_proj_b"),
    f"{_OURS}.in_proj_a": Name("blk.{i}.ssm_alpha", hf=f"{_HF}.in_proj_a"),
    f"{_OURS}.conv1d": Name("blk.{i}.ssm_conv1d", hf=f"{_HF}.conv1d"),
    f"{_OURS}.A": Name("blk.{i}.ssm_a", from_hf=minus_exp, hf=f"{_HF}.A_log"),
    f"{_OURS}.dt_bias": Name("blk.{i}.ssm_dt.bias", hf=f"{_HF}.dt_bias"),
    # The one norm whose weight is the factor itself, in Hugging Face, too.
    f"{_OURS}.norm": Name("blk.{i}.ssm_norm", hf=f"{_HF}.norm"),
    f"{_OURS}.out_proj": Name("blk.{i}.ssm_out", hf=f"{_HF}.out_proj"),
}


def mixer(c: DeltaConfig, layer: int, rope: Rope, *, tiled: bool = False) -> Mixer:
    return GatedAttention(c, rope) if c.attends(layer) else GatedDeltaNet(c, tiled=tiled)
