"""What families of state space models share."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import torch
from msgspec import Meta
from msgspec.structs import force_setattr
from torch import Tensor

from engine.models.meta import BaseConfig, Size, gguf, gguf_has
from engine.models.names import Name, Names

_Limit = Annotated[float, Meta(ge=0)]
TimeStepLimit = tuple[_Limit, _Limit]


class SSMConfig(BaseConfig, frozen=True, kw_only=True):
    """Layers of one part, which keeps a state. The names are those of MambaConfig.

    pad_vocab_size_multiple: of the rows that the embedding really has, in the oldest files.
    """

    hidden_act: Literal["silu"] = "silu"
    expand: Annotated[int, Meta(ge=1, le=64)] = 2
    intermediate_size: Annotated[int, Meta(ge=0, le=2**20), gguf("ssm.inner_size")] = 0
    state_size: Annotated[Size, gguf("ssm.state_size")]
    conv_kernel: Annotated[int, Meta(ge=2, le=64), gguf("ssm.conv_kernel")] = 4
    use_bias: Annotated[bool, gguf_has("blk.0.ssm_in.bias")] = False
    use_conv_bias: Annotated[bool, gguf_has("blk.0.ssm_conv1d.bias")] = True
    pad_vocab_size_multiple: Annotated[int, Meta(ge=1, le=2**16)] = 1
    # Said by GGUF files: nothing attends, nothing comes after the mixer.
    head_count: Annotated[Literal[0], gguf("attention.head_count")] = 0
    feed_forward_length: Annotated[Literal[0], gguf("feed_forward_length")] = 0

    hf_names: ClassVar[Mapping[str, str]] = {
        "hidden_size": "d_model",
        "num_hidden_layers": "n_layer",
        "rms_norm_eps": "layer_norm_epsilon",
        "tie_word_embeddings": "tie_embeddings",
    }
    hf_defaults: ClassVar[Mapping[str, Any]] = {
        "max_position_embeddings": 2**20,
        "rms_norm_eps": 1e-5,
    }

    def __post_init__(self) -> None:
        missing = -self.vocab_size % self.pad_vocab_size_multiple
        force_setattr(self, "vocab_size", self.vocab_size + missing)
        if not self.intermediate_size:
            force_setattr(self, "intermediate_size", self.expand * self.hidden_size)


def minus_exp(logarithms: Tensor, _: Any) -> Tensor:
    """A, of Hugging Face's A_log."""
    return -torch.exp(logarithms)


def ssm_names(mixer: str) -> Names:
    """Of what all of Mamba's mixers have, at a path in our layers that is Hugging Face's, too."""
    return {
        f"{mixer}.in_proj": "blk.{i}.ssm_in",
        f"{mixer}.conv1d": "blk.{i}.ssm_conv1d",
        f"{mixer}.A": Name("blk.{i}.ssm_a", from_hf=minus_exp, hf=f"{mixer}.A_log"),
        f"{mixer}.D": "blk.{i}.ssm_d",
        f"{mixer}.out_proj": "blk.{i}.ssm_out",
    }


BACKBONE_NAMES: Names = {
    "model.embed_tokens": Name("token_embd", hf="model.embeddings"),
    "model.layers.{i}.norm": "blk.{i}.attn_norm",
    "model.norm": Name("output_norm", hf="model.norm_f"),
    "lm_head": "output",
}
