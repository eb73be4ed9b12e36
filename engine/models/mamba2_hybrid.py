"""What Bamba and Granite 4 share: Mamba-2 in most layers, attention in the others."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta
from msgspec.structs import force_setattr

from engine.models import llama
from engine.models.hybrid import HybridConfig, moved
from engine.models.meta import Size, gguf, gguf_has
from engine.models.names import Names
from engine.models.ssm import TimeStepLimit, ssm_names
from engine.nn.mamba2 import NO_LIMITS, GatedNorm, Mamba2


class Mamba2HybridConfig(HybridConfig, frozen=True, kw_only=True):
    """rope_finetuned: GGUF's word for layers that attend with a rope."""

    hidden_act: Literal["silu"] = "silu"
    rope_finetuned: Annotated[bool, gguf("rope.scaling.finetuned")] = False
    mamba_n_heads: Annotated[Size, gguf("ssm.time_step_rank")]
    mamba_d_head: Size | Literal["auto"] = "auto"
    mamba_inner_size: Annotated[int, Meta(ge=0, le=2**20), gguf("ssm.inner_size")] = 0
    mamba_expand: Annotated[int, Meta(ge=1, le=64)] = 2
    mamba_n_groups: Annotated[Size, gguf("ssm.group_count")] = 1
    mamba_d_state: Annotated[Size, gguf("ssm.state_size")] = 256
    mamba_d_conv: Annotated[int, Meta(ge=2, le=64), gguf("ssm.conv_kernel")] = 4
    mamba_conv_bias: Annotated[bool, gguf_has("blk.*.ssm_conv1d.bias")] = True
    mamba_proj_bias: Annotated[bool, gguf_has("blk.*.ssm_in.bias")] = False
    time_step_limit: TimeStepLimit = NO_LIMITS

    hf_defaults: ClassVar[Mapping[str, Any]] = {"mamba_n_heads": 128}

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.mamba_inner_size:
            force_setattr(self, "mamba_inner_size", self.mamba_expand * self.hidden_size)
        if self.mamba_d_head == "auto":
            force_setattr(self, "mamba_d_head", self.mamba_inner_size // self.mamba_n_heads)
        if int(self.mamba_d_head) * self.mamba_n_heads != self.mamba_inner_size:
            heads = f"{self.mamba_n_heads} heads of {self.mamba_d_head}"
            raise ValueError(f"{heads} do not make up {self.mamba_inner_size} channels")


def mamba2(c: Mamba2HybridConfig) -> Mamba2:
    return Mamba2(
        c.hidden_size,
        num_heads=c.mamba_n_heads,
        head_dim=int(c.mamba_d_head),
        state_size=c.mamba_d_state,
        num_groups=c.mamba_n_groups,
        kernel_size=c.mamba_d_conv,
        conv_bias=c.mamba_conv_bias,
        in_bias=c.mamba_proj_bias,
        out_bias=c.mamba_proj_bias,
        norm=GatedNorm(c.mamba_inner_size, c.rms_norm_eps, num_groups=c.mamba_n_groups),
        dt_limits=c.time_step_limit,
    )


_MIXER = "model.layers.{i}.mamba"

NAMES: Names = {
    **llama.NAMES,
    **moved(
        {
            **ssm_names(_MIXER),
            f"{_MIXER}.dt_bias": "blk.{i}.ssm_dt.bias",
            f"{_MIXER}.norm": "blk.{i}.ssm_norm",
        },
        ".mamba",
        ".self_attn",
    ),
}
"""With the mixer of either kind at `self_attn` of a layer."""
