"""Mamba-2 and Codestral-Mamba: Mamba whose heads share a decay, so that a chunk is matrix products.

Checked against transformers 5.23 (models/mamba2) and llama.cpp (src/models/mamba2.cpp).
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from msgspec import Meta
from msgspec.structs import force_setattr

from engine.models.family import Family
from engine.models.meta import gguf
from engine.models.names import Names
from engine.models.ssm import BACKBONE_NAMES, SSMConfig, TimeStepLimit, ssm_names
from engine.nn.decoder import CausalLM
from engine.nn.mamba2 import NO_LIMITS, GatedNorm, Mamba2
from engine.nn.mixer_layer import MixerLayer


class Config(SSMConfig, frozen=True, kw_only=True):
    """norm_before_gate: what Codestral-Mamba's says is not what it was trained with; none obeys."""

    num_heads: Annotated[int, Meta(ge=1, le=2**16), gguf("ssm.time_step_rank")]
    head_dim: Annotated[int, Meta(ge=0, le=2**16)] = 0
    n_groups: Annotated[int, Meta(ge=1, le=2**16), gguf("ssm.group_count")] = 1
    time_step_limit: TimeStepLimit = NO_LIMITS
    norm_before_gate: bool = False

    hf_defaults: ClassVar[Mapping[str, Any]] = {
        **SSMConfig.hf_defaults,
        "n_groups": 8,
        "state_size": 128,
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.head_dim:
            force_setattr(self, "head_dim", self.intermediate_size // self.num_heads)
        if self.head_dim * self.num_heads != self.intermediate_size:
            heads = f"{self.num_heads} heads of {self.head_dim}"
            raise ValueError(f"{heads} do not make up {self.intermediate_size} channels")


NAMES: Names = {
    **BACKBONE_NAMES,
    **ssm_names("model.layers.{i}.mixer"),
    "model.layers.{i}.mixer.dt_bias": "blk.{i}.ssm_dt.bias",
    "model.layers.{i}.mixer.norm": "blk.{i}.ssm_norm",
}


def build(c: Config) -> CausalLM:
    def mixer() -> Mamba2:
        return Mamba2(
            c.hidden_size,
            num_heads=c.num_heads,
            head_dim=c.head_dim,
            state_size=c.state_size,
            num_groups=c.n_groups,
            kernel_size=c.conv_kernel,
            conv_bias=c.use_conv_bias,
            in_bias=c.use_bias,
            out_bias=c.use_bias,
            norm=GatedNorm(c.intermediate_size, c.rms_norm_eps, num_groups=c.n_groups),
            dt_limits=c.time_step_limit,
        )

    return CausalLM(c, lambda _: MixerLayer(c, mixer()))


FAMILY = Family("mamba2", ("Mamba2ForCausalLM",), ("mamba2",), ("mamba2",), Config, build, NAMES)
