"""SmolLM3: Llama whose every fourth layer has no positions.

Checked against transformers 5.23 (models/smollm3) and llama.cpp (src/models/smollm3.cpp).
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from msgspec import Meta

from engine.models import llama
from engine.models.family import Family
from engine.nn.attention import Attention
from engine.nn.decoder import CausalLM
from engine.nn.layer import DecoderLayer
from engine.nn.mlp import GatedMLP
from engine.nn.rope import rope_of


class Config(llama.Config, frozen=True, kw_only=True):
    """no_rope_layers has a 1 for each layer *with* a rope. GGUF has no key for either."""

    no_rope_layers: tuple[int, ...] = ()
    no_rope_layer_interval: Annotated[int, Meta(ge=1)] = 4

    rope_thetas: ClassVar[Mapping[str, float | None]] = {"full_attention": 2e6}
    hf_defaults: ClassVar[Mapping[str, Any]] = {"tie_word_embeddings": True}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.no_rope_layers and len(self.no_rope_layers) != self.num_hidden_layers:
            raise ValueError(f"{len(self.no_rope_layers)} no_rope_layers, not one a layer")

    def has_rope(self, layer: int) -> bool:
        if self.no_rope_layers:
            return bool(self.no_rope_layers[layer])
        return (layer + 1) % self.no_rope_layer_interval != 0


def build(c: Config) -> CausalLM:
    rope = rope_of(c)

    def layer(index: int) -> DecoderLayer:
        return DecoderLayer(c, Attention(c, rope if c.has_rope(index) else None), GatedMLP(c))

    return CausalLM(c, layer)


FAMILY = Family(
    "smollm3",
    ("SmolLM3ForCausalLM",),
    ("smollm3",),
    ("smollm3",),
    Config,
    build,
    llama.NAMES,
)
