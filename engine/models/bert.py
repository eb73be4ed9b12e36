"""BERT: an encoder for embeddings, and with a classifier of one label for reranking.

Checked against transformers 5.23 (models/bert) and llama.cpp (src/models/bert.cpp). Without a
modules.json the mean of all tokens is taken, as sentence-transformers does.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta

from engine.kernels import ops
from engine.models.encoders import DENSE, EncoderConfig, pooler
from engine.models.family import Family
from engine.models.names import Name, Names
from engine.nn.encoder import Encoder, EncoderLayer, TextEmbeddings
from engine.nn.encoder_attention import EncoderAttention
from engine.nn.mlp import MLP
from engine.nn.text_heads import ScoreHead


class Config(EncoderConfig, frozen=True, kw_only=True):
    hidden_act: Literal["gelu"] = "gelu"
    position_embedding_type: Literal["absolute"] = "absolute"
    type_vocab_size: Annotated[int, Meta(ge=1, le=64)] = 2

    hf_defaults: ClassVar[Mapping[str, Any]] = {"attention_bias": True, "mlp_bias": True}

    @property
    def position_offset(self) -> int:
        """Position of the first token."""
        return 0


def names(prefix: str, dense: str, out_proj: str) -> Names:
    """prefix: of the encoder's tensors. dense, out_proj: the matrices of the score."""

    def layer(hf: str, gguf: str) -> Name:
        return Name(f"blk.{{i}}.{gguf}", hf=f"{prefix}encoder.layer.{{i}}.{hf}")

    def embedding(hf: str, gguf: str) -> Name:
        return Name(gguf, hf=f"{prefix}embeddings.{hf}")

    return {
        **DENSE,
        "embeddings.word_embeddings": embedding("word_embeddings", "token_embd"),
        "embeddings.position_embeddings": embedding("position_embeddings", "position_embd"),
        "embeddings.token_type_embeddings": embedding("token_type_embeddings", "token_types"),
        "embeddings.norm": embedding("LayerNorm", "token_embd_norm"),
        "layers.{i}.self_attn.q_proj": layer("attention.self.query", "attn_q"),
        "layers.{i}.self_attn.k_proj": layer("attention.self.key", "attn_k"),
        "layers.{i}.self_attn.v_proj": layer("attention.self.value", "attn_v"),
        "layers.{i}.self_attn.o_proj": layer("attention.output.dense", "attn_output"),
        "layers.{i}.attention_norm": layer("attention.output.LayerNorm", "attn_output_norm"),
        "layers.{i}.mlp.up_proj": layer("intermediate.dense", "ffn_up"),
        "layers.{i}.mlp.down_proj": layer("output.dense", "ffn_down"),
        "layers.{i}.output_norm": layer("output.LayerNorm", "layer_output_norm"),
        "head.dense": Name("cls", hf=dense),
        "head.out_proj": Name("cls.output", hf=out_proj),
    }


NAMES = names("", dense="pooler.dense", out_proj="classifier")

UNUSED = ("embeddings.position_ids", "pooler.*", "cls.*")
"""The last two are what training has for it, where the encoder alone is wanted."""


def build(c: Config) -> Encoder:
    def layer(_: int) -> EncoderLayer:
        return EncoderLayer(c, EncoderAttention(c), MLP(c, ops.gelu))

    return Encoder(
        c,
        TextEmbeddings(c),
        layer,
        ScoreHead(c) if c.is_reranker else pooler(c),
        position_offset=c.position_offset,
        num_segments=c.type_vocab_size,
    )


FAMILY = Family(
    "bert",
    ("BertModel", "BertForSequenceClassification", "BertForMaskedLM"),
    ("bert",),
    ("bert",),
    Config,
    build,
    NAMES,
    unused=UNUSED,
)
