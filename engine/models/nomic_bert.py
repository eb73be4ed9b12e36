"""nomic-bert: BERT with rotary positions and a gate, as nomic-embed-text 1 and 1.5 are.

Checked against transformers 5.23 (models/nomic_bert) and llama.cpp (src/models/bert.cpp). The
published files have the words of the code that came with them: n_embd, n_inner and so on. They
stretch the rope beyond the positions that the model was trained for; no text is read that long.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta
from msgspec.structs import force_setattr

from engine.models.encoders import DENSE, EncoderConfig, pooler
from engine.models.family import Family
from engine.models.meta import Eps, Size
from engine.models.names import Fused, Name, Names
from engine.nn.encoder import Encoder, EncoderLayer, TextEmbeddings
from engine.nn.encoder_attention import EncoderAttention
from engine.nn.mlp import GatedMLP
from engine.nn.rope import rope_of


class Config(EncoderConfig, frozen=True, kw_only=True):
    """max_trained_positions: texts are read no longer than that. layer_norm_eps: as newer files call it."""

    activation_function: Literal["swiglu"] = "swiglu"
    hidden_act: Literal["silu"] = "silu"
    prenorm: Literal[False] = False
    causal: Literal[False] = False
    use_rms_norm: Literal[False] | None = None
    rotary_emb_interleaved: Literal[False] = False
    rotary_emb_scale_base: None = None
    moe_every_n_layers: Literal[0] = 0
    max_trained_positions: Size = 2048
    layer_norm_eps: Eps | None = None
    type_vocab_size: Annotated[int, Meta(ge=1, le=64)] = 2

    rope_thetas: ClassVar[Mapping[str, float | None]] = {"full_attention": 1000.0}
    hf_names: ClassVar[Mapping[str, str]] = {
        "hidden_size": "n_embd",
        "intermediate_size": "n_inner",
        "num_hidden_layers": "n_layer",
        "num_attention_heads": "n_head",
        "max_position_embeddings": "n_positions",
        "rope_theta": "rotary_emb_base",
        "partial_rotary_factor": "rotary_emb_fraction",
        "attention_bias": "qkv_proj_bias",
        "mlp_bias": "mlp_fc1_bias",
        "rms_norm_eps": "layer_norm_epsilon",
    }
    hf_defaults: ClassVar[Mapping[str, Any]] = {"rms_norm_eps": 1e-12}

    def __post_init__(self) -> None:
        super().__post_init__()
        longest = min(self.max_position_embeddings, self.max_trained_positions)
        force_setattr(self, "max_position_embeddings", longest)
        if self.layer_norm_eps is not None:
            force_setattr(self, "rms_norm_eps", self.layer_norm_eps)

    @property
    def position_offset(self) -> int:
        """Position of the first token."""
        return 0


NAMES: Names = {
    **DENSE,
    "embeddings.word_embeddings": "token_embd",
    "embeddings.token_type_embeddings": "token_types",
    "embeddings.norm": Name("token_embd_norm", hf="emb_ln"),
    "layers.{i}.self_attn.q_proj": Name("blk.{i}.attn_q", hf="encoder.layers.{i}.attn.q"),
    "layers.{i}.self_attn.k_proj": Name("blk.{i}.attn_k", hf="encoder.layers.{i}.attn.k"),
    "layers.{i}.self_attn.v_proj": Name("blk.{i}.attn_v", hf="encoder.layers.{i}.attn.v"),
    "layers.{i}.self_attn.o_proj": Name(
        "blk.{i}.attn_output", hf="encoder.layers.{i}.attn.out_proj"
    ),
    "layers.{i}.attention_norm": Name("blk.{i}.attn_output_norm", hf="encoder.layers.{i}.norm1"),
    "layers.{i}.mlp.gate_proj": Name("blk.{i}.ffn_gate", hf="encoder.layers.{i}.mlp.fc12"),
    "layers.{i}.mlp.up_proj": Name("blk.{i}.ffn_up", hf="encoder.layers.{i}.mlp.fc11"),
    "layers.{i}.mlp.down_proj": Name("blk.{i}.ffn_down", hf="encoder.layers.{i}.mlp.fc2"),
    "layers.{i}.output_norm": Name("blk.{i}.layer_output_norm", hf="encoder.layers.{i}.norm2"),
}


def build(c: Config) -> Encoder:
    rope = rope_of(c)

    def layer(_: int) -> EncoderLayer:
        return EncoderLayer(c, EncoderAttention(c, rope), GatedMLP(c))

    return Encoder(
        c,
        TextEmbeddings(c, has_positions=False),
        layer,
        pooler(c),
        num_segments=c.type_vocab_size,
    )


FAMILY = Family(
    "nomic_bert",
    ("NomicBertModel",),
    ("nomic_bert",),
    ("nomic-bert",),
    Config,
    build,
    NAMES,
    fused=(Fused("attn.Wqkv", ("attn.q", "attn.k", "attn.v")),),
)
