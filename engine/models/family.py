from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from engine.models.meta import BaseConfig
from engine.models.names import Fused, Names
from engine.nn.decoder import CausalLM
from engine.nn.embedder import Embedder
from engine.nn.model import Model


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
    build: Callable[[Any], Model]
    names: Names
    unused: tuple[str, ...] = ()
    fused: tuple[Fused, ...] = ()
    transposed: tuple[str, ...] = ()

    def model(self, config: BaseConfig) -> Model:
        """Without its weights; a decoder without its head where its file says that it embeds.

        Raises ValueError for settings that are right one by one, and not together.
        """
        model = self.build(config)
        if config.pooling is None or not isinstance(model, CausalLM):
            return model
        if config.pooling != "last":
            raise ValueError(f"{config.pooling} pooling of a decoder is not supported")
        return Embedder(model, is_unit=config.normalizes)
