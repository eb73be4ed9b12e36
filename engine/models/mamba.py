"""Mamba, 130M to 2.8B: nothing attends, each layer keeps a state of constant size.

Checked against transformers 5.23 (models/mamba) and llama.cpp (src/models/mamba.cpp).
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta
from msgspec.structs import force_setattr
from torch import Tensor

from engine.kernels import ops
from engine.models.family import Family
from engine.models.meta import Eps, gguf
from engine.models.names import Names
from engine.models.ssm import BACKBONE_NAMES, SSMConfig, ssm_names
from engine.nn.decoder import CausalLM
from engine.nn.mamba import Mamba
from engine.nn.mixer_layer import MixerLayer
from engine.nn.module import Module


class Config(SSMConfig, frozen=True, kw_only=True):
    """dt_b_c_rms: GGUF's word for Falcon-Mamba's norms of dt, B and C. It has none for their eps."""

    time_step_rank: Annotated[
        Annotated[int, Meta(ge=1, le=2**20)] | Literal["auto"], gguf("ssm.time_step_rank")
    ] = "auto"
    dt_b_c_rms: Annotated[bool, gguf("ssm.dt_b_c_rms")] = False
    mixer_rms_eps: Eps = 1e-6

    hf_defaults: ClassVar[Mapping[str, Any]] = {
        **SSMConfig.hf_defaults,
        "state_size": 16,
        "tie_word_embeddings": True,
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.time_step_rank == "auto":
            force_setattr(self, "time_step_rank", -(-self.hidden_size // 16))


class WeightlessNorm(Module):
    """RMS norm with nothing to learn."""

    def __init__(self, eps: float) -> None:
        super().__init__()
        self._eps = eps

    def __call__(self, x: Tensor) -> Tensor:
        return ops.rms_norm(x, None, self._eps)


NAMES: Names = {
    **BACKBONE_NAMES,
    **ssm_names("model.layers.{i}.mixer"),
    "model.layers.{i}.mixer.x_proj": "blk.{i}.ssm_x",
    "model.layers.{i}.mixer.dt_proj": "blk.{i}.ssm_dt",
}


def build(c: Config) -> CausalLM:
    def mixer() -> Mamba:
        return Mamba(
            c.hidden_size,
            inner_size=c.intermediate_size,
            state_size=c.state_size,
            dt_rank=int(c.time_step_rank),
            kernel_size=c.conv_kernel,
            conv_bias=c.use_conv_bias,
            proj_bias=c.use_bias,
            norm=(lambda _: WeightlessNorm(c.mixer_rms_eps)) if c.dt_b_c_rms else None,
        )

    return CausalLM(c, lambda _: MixerLayer(c, mixer()))


FAMILY = Family(
    "mamba",
    ("MambaForCausalLM", "MambaLMHeadModel"),
    ("mamba",),
    ("mamba",),
    Config,
    build,
    NAMES,
)
