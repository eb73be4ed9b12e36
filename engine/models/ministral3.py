"""Ministral 3, alone or in the wrapper with eyes: Mistral whose queries grow with their position.

Checked against transformers 5.23 (models/ministral3) and llama.cpp (src/models/mistral3.cpp).
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from msgspec import Meta
from msgspec.structs import force_setattr, replace

from engine.models import llama, mistral
from engine.models.family import Family
from engine.models.meta import gguf

Factor = Annotated[float, Meta(ge=0)]


class Config(mistral.Config, frozen=True, kw_only=True):
    """GGUF has for keys of their own what are words of the rope in config.json."""

    llama_4_scaling_beta: Annotated[Factor, gguf("attention.temperature_scale")] = 0
    mscale_all_dim: Annotated[Factor, gguf("rope.scaling.yarn_log_multiplier")] = 0

    hf_defaults: ClassVar[Mapping[str, Any]] = {"head_dim": 128}

    def __post_init__(self) -> None:
        super().__post_init__()
        given: dict[str, Any] = {}
        if self.llama_4_scaling_beta:
            given["llama_4_scaling_beta"] = self.llama_4_scaling_beta
        if self.mscale_all_dim:
            given |= {"mscale": 1.0, "mscale_all_dim": self.mscale_all_dim}
        ropes = {kind: replace(rope, **given) for kind, rope in self.rope_parameters.items()}
        force_setattr(self, "rope_parameters", ropes)


FAMILY = Family(
    "ministral3",
    ("Ministral3ForCausalLM",),
    ("ministral3",),
    ("mistral3",),
    Config,
    mistral.build,
    llama.NAMES,
)
