"""ModernBERT: pre-norm, rotary, gated, and two of three layers see but their surroundings.

Checked against transformers 5.23 (models/modernbert) and llama.cpp (src/models/modern-bert.cpp).
"""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from msgspec import Meta
from torch import Tensor

from engine.kernels import ops
from engine.models.encoders import DENSE, ROWS, EncoderConfig, pooler
from engine.models.family import Family
from engine.models.meta import Size, gguf
from engine.models.names import Fused, Name, Names
from engine.models.pooling import GGUF_POOLINGS
from engine.models.sliding import LayerType
from engine.nn.encoder import Encoder, TokenEmbeddings
from engine.nn.encoder_attention import EncoderAttention
from engine.nn.layer import DecoderLayer, FeedForward, MakeNorm
from engine.nn.mlp import GatedMLP
from engine.nn.norm import layer_norm, unbiased_layer_norm
from engine.nn.rope import rope_of
from engine.nn.text_heads import ScoreHead

Activation = Literal["gelu", "silu"]
ClassifierPooling = Literal["cls", "mean"]


class Config(EncoderConfig, frozen=True, kw_only=True):
    """local_attention: tokens that a sliding layer sees, half of them on each side.

    layer_types wins over global_attn_every_n_layers: the first layer of so many is full.
    """

    hidden_activation: Annotated[Activation, gguf("hidden_activation")] = "gelu"
    local_attention: Annotated[Size, gguf("attention.sliding_window")] = 128
    global_attn_every_n_layers: Annotated[
        int, Meta(ge=1), gguf("attention.sliding_window_pattern")
    ] = 3
    layer_types: tuple[LayerType, ...] = ()
    norm_bias: bool = False
    classifier_pooling: Annotated[ClassifierPooling | int, gguf("classifier.pooling_type")] = "cls"
    classifier_activation: Literal["gelu"] = "gelu"
    classifier_bias: bool = False

    rope_thetas: ClassVar[Mapping[str, float | None]] = {
        "full_attention": 160000.0,
        "sliding_attention": 10000.0,
    }
    hf_names: ClassVar[Mapping[str, str]] = {
        "rms_norm_eps": "norm_eps",
        "rope_theta": "global_rope_theta",
        "rope_local_base_freq": "local_rope_theta",
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layer_types and len(self.layer_types) != self.num_hidden_layers:
            raise ValueError(f"{len(self.layer_types)} types, {self.num_hidden_layers} layers")

    def layer_type(self, layer: int) -> LayerType:
        if self.layer_types:
            return self.layer_types[layer]
        is_full = layer % self.global_attn_every_n_layers == 0
        return "full_attention" if is_full else "sliding_attention"

    def reach(self, layer: int) -> int | None:
        """How far the layer sees on each side, None for everything."""
        is_full = self.layer_type(layer) == "full_attention"
        return None if is_full else self.local_attention // 2

    @property
    def norm(self) -> MakeNorm:
        return layer_norm if self.norm_bias else unbiased_layer_norm


class FirstLayer(DecoderLayer):
    """The embeddings' norm is its first."""

    def __init__(self, c: Config, self_attn: EncoderAttention, mlp: FeedForward) -> None:
        super().__init__(c, self_attn, mlp, norm=c.norm)
        self.input_layernorm = _same


def _same(x: Tensor) -> Tensor:
    return x


def gelu_mul(gate: Tensor, up: Tensor) -> Tensor:
    """GeGLU with the exact gelu."""
    return ops.mul(ops.gelu(gate), up)


NAMES: Names = {
    **DENSE,
    "embeddings.word_embeddings": Name("token_embd", hf="model.embeddings.tok_embeddings"),
    "embeddings.norm": Name("token_embd_norm", hf="model.embeddings.norm"),
    "layers.{i}.input_layernorm": Name("blk.{i}.attn_norm", hf="model.layers.{i}.attn_norm"),
    "layers.{i}.self_attn.q_proj": Name("blk.{i}.attn_q", hf="model.layers.{i}.attn.q"),
    "layers.{i}.self_attn.k_proj": Name("blk.{i}.attn_k", hf="model.layers.{i}.attn.k"),
    "layers.{i}.self_attn.v_proj": Name("blk.{i}.attn_v", hf="model.layers.{i}.attn.v"),
    "layers.{i}.self_attn.o_proj": Name("blk.{i}.attn_output", hf="model.layers.{i}.attn.Wo"),
    "layers.{i}.post_attention_layernorm": Name("blk.{i}.ffn_norm", hf="model.layers.{i}.mlp_norm"),
    "layers.{i}.mlp.gate_proj": Name("blk.{i}.ffn_gate", hf="model.layers.{i}.mlp.gate"),
    "layers.{i}.mlp.up_proj": Name("blk.{i}.ffn_up", hf="model.layers.{i}.mlp.up"),
    "layers.{i}.mlp.down_proj": Name("blk.{i}.ffn_down", hf="model.layers.{i}.mlp.Wo"),
    "norm": Name("output_norm", hf="model.final_norm"),
    "head.dense": Name("cls", hf="head.dense"),
    "head.norm": Name("cls.norm", hf="head.norm"),
    "head.out_proj": Name("cls.output", hf="classifier"),
}


def build(c: Config) -> Encoder:
    ropes = {kind: rope_of(c, kind) for kind in c.rope_parameters}
    act = gelu_mul if c.hidden_activation == "gelu" else ops.silu_mul

    def layer(index: int) -> DecoderLayer:
        attention = EncoderAttention(c, ropes[c.layer_type(index)], reach=c.reach(index))
        mlp = GatedMLP(c, act)
        return (
            DecoderLayer(c, attention, mlp, norm=c.norm) if index else FirstLayer(c, attention, mlp)
        )

    return Encoder(
        c,
        TokenEmbeddings(c, norm=c.norm),
        layer,
        _score_head(c) if c.is_reranker else pooler(c),
        norm=c.norm,
    )


def _score_head(c: Config) -> ScoreHead:
    given = c.classifier_pooling
    pooling = GGUF_POOLINGS.get(given) if isinstance(given, int) else given
    if pooling is None or pooling not in ROWS:
        raise ValueError(f"classifier_pooling {given} is not supported")
    return ScoreHead(
        c, pooling=ROWS[pooling], act=ops.gelu, dense_bias=c.classifier_bias, norm=c.norm
    )


FAMILY = Family(
    "modernbert",
    ("ModernBertModel", "ModernBertForSequenceClassification", "ModernBertForMaskedLM"),
    ("modernbert",),
    ("modern-bert",),
    Config,
    build,
    NAMES,
    unused=("head.*", "decoder.*", "cls*"),
    fused=(
        Fused("attn.Wqkv", ("attn.q", "attn.k", "attn.v")),
        Fused("mlp.Wi", ("mlp.gate", "mlp.up")),
        Fused("ffn_up", ("ffn_gate", "ffn_up")),
    ),
)
