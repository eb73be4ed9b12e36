"""EmbeddingGemma: Gemma 3's text model that looks both ways, its mean, and two matrices behind it.

Checked against transformers 5.23 (models/gemma3) and llama.cpp (src/models/gemma-embedding.cpp).
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta

from engine.kernels import ops
from engine.models import gemma3
from engine.models.encoders import DENSE, pooler
from engine.models.family import Family
from engine.models.gemma import Activation
from engine.models.meta import Size, gguf
from engine.models.names import Name, Names
from engine.models.sliding import SlidingConfig
from engine.nn.encoder import Encoder, TokenEmbeddings
from engine.nn.encoder_attention import EncoderAttention
from engine.nn.layer import SandwichLayer, rms_norm
from engine.nn.mlp import GatedMLP
from engine.nn.rope import rope_of


class Config(SlidingConfig, frozen=True, kw_only=True):
    """sliding_window: tokens that a sliding layer sees, half of them on each side."""

    hidden_act: Activation = "gelu_pytorch_tanh"
    hidden_activation: Activation = "gelu_pytorch_tanh"
    query_pre_attn_scalar: Annotated[float, Meta(ge=0)] = 0
    sliding_window: Annotated[Size, gguf("attention.sliding_window")]
    attention_causal: Annotated[Literal[False], gguf("attention.causal")] = False
    use_bidirectional_attention: Literal[True] = True
    is_matryoshka: bool = True

    default_pattern: ClassVar[int] = 6

    rope_thetas: ClassVar[Mapping[str, float | None]] = gemma3.Config.rope_thetas
    hf_defaults: ClassVar[Mapping[str, Any]] = {
        **gemma3.Config.hf_defaults,
        "use_bidirectional_attention": False,
    }

    def reach(self, layer: int) -> int | None:
        """How far the layer sees on each side, None for everything."""
        return self.sliding_window // 2 if self.slides(layer) else None


def _encoders(path: str) -> str:
    """What a path in a decoder is in an `Encoder`."""
    return path.removeprefix("model.").replace("embed_tokens", "embeddings.word_embeddings")


def _named(path: str, name: str | Name) -> Name:
    known = name if isinstance(name, Name) else Name(name)
    return Name(known.gguf, known.from_gguf, known.from_hf, hf=path)


NAMES: Names = {
    **DENSE,
    **{_encoders(path): _named(path, name) for path, name in gemma3.NAMES.items()},
}


def build(c: Config) -> Encoder:
    ropes = {kind: rope_of(c, kind) for kind in c.rope_parameters}
    # GGUF has no key for the scale; llama.cpp takes the size of a head
    scale = (c.query_pre_attn_scalar or c.head_dim) ** -0.5

    def layer(index: int) -> SandwichLayer:
        attention = EncoderAttention(
            c, ropes[c.layer_type(index)], scale=scale, reach=c.reach(index), qk_norm="head"
        )
        return SandwichLayer(c, attention, GatedMLP(c, ops.gelu_tanh_mul))

    embeddings = TokenEmbeddings(c, factor=c.hidden_size**0.5)
    return Encoder(c, embeddings, layer, pooler(c), norm=rms_norm)


FAMILY = Family(
    "embedding_gemma",
    ("Gemma3TextModel",),
    (),
    ("gemma-embedding",),
    Config,
    build,
    NAMES,
)
