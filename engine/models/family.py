from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from engine.models.meta import BaseConfig
from engine.models.names import Fused, Names
from engine.nn.decoder import CausalLM


@dataclass(frozen=True, slots=True)
class Family:
    """One family of models, declared.

    architectures, model_types: Hugging Face's words for it; gguf_architectures: GGUF's.
    build: the model without its weights, from an instance of `config`.
    unused: patterns of tensor names that files may hold beside what the model needs.
    fused: stored matrices that hold several of the model's.
    transposed: patterns of matrices and stacks of them that Hugging Face has as (in, out) or
    (n, in, out), unless they are packed.
    """

    name: str
    architectures: tuple[str, ...]
    model_types: tuple[str, ...]
    gguf_architectures: tuple[str, ...]
    config: type[BaseConfig]
    build: Callable[[Any], CausalLM]
    names: Names
    unused: tuple[str, ...] = ()
    fused: tuple[Fused, ...] = ()
    transposed: tuple[str, ...] = ()
