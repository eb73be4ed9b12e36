"""What families share that norm with mean and variance, where Llama has the root mean square."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

from engine.models.meta import Config, Eps, gguf


class LayerNormConfig(Config, frozen=True, kw_only=True):
    """rms_norm_eps is the eps of the norms here too: blocks know it by that name."""

    rms_norm_eps: Annotated[Eps, gguf("attention.layer_norm_epsilon")] = 1e-5

    hf_names: ClassVar[Mapping[str, str]] = {"rms_norm_eps": "layer_norm_eps"}
