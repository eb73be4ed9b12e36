"""Mistral 4: DeepSeek's attention and experts, softmax routing, and queries that grow with position.

Checked against transformers 5.23 (models/mistral4) and llama.cpp (src/models/mistral4.cpp).
"""

from typing import Annotated, Literal

from msgspec.structs import force_setattr, replace

from engine.models import deepseek
from engine.models.family import Family
from engine.models.meta import gguf

_BETA = 0.1


class Config(deepseek.Config, frozen=True, kw_only=True):
    """GGUF's converter has no key for the growth of queries: then it is as published."""

    n_group: Annotated[Literal[1], gguf("expert_group_count")] = 1
    temperature_scale: Annotated[float, gguf("attention.temperature_scale")] = _BETA

    def __post_init__(self) -> None:
        super().__post_init__()
        rope = self.rope_parameters["full_attention"]
        if self.yarn_log_multiplier:  # only GGUF says it so
            rope = replace(rope, llama_4_scaling_beta=self.temperature_scale)
            force_setattr(self, "rope_parameters", {"full_attention": rope})


FAMILY = Family(
    "mistral4",
    ("Mistral4ForCausalLM",),
    ("mistral4",),
    ("mistral4",),
    Config,
    deepseek.build,
    deepseek.NAMES,
)
