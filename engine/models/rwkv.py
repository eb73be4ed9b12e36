"""What RWKV's families share."""

from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import Meta
from msgspec.structs import force_setattr

from engine.models.meta import BaseConfig, Eps, Size, gguf
from engine.models.names import Name, Names

UNBOUNDED = 2**20
"""No layer sees positions, so a context ends where a state has forgotten it: as GGUF files say it."""


class RwkvConfig(BaseConfig, frozen=True, kw_only=True):
    """The context length of a config.json is that of training, and no limit.

    head_count, token_shift_count: said by GGUF files, always so.
    """

    rms_norm_eps: Annotated[Eps, gguf("attention.layer_norm_epsilon")] = 1e-5
    max_position_embeddings: Annotated[int, Meta(ge=1), gguf("context_length")] = UNBOUNDED
    intermediate_size: Annotated[int, Meta(ge=0, le=2**20), gguf("feed_forward_length")] = 0
    head_size: Annotated[Size, gguf("wkv.head_size")] = 64
    head_count: Annotated[Literal[0], gguf("attention.head_count")] = 0
    token_shift_count: Annotated[Literal[2], gguf("token_shift_count")] = 2

    def __post_init__(self) -> None:
        force_setattr(self, "max_position_embeddings", UNBOUNDED)


def check_heads(size: int, head_size: int) -> None:
    if size % head_size:
        raise ValueError(f"heads of {head_size} in {size}: not a multiple")


def names(top: Mapping[str, str], layers: str, table: Mapping[str, tuple[str, str]]) -> Names:
    """Of a layout of safetensors files, beside GGUF's.

    top: what it calls the modules of GGUF_TOP; layers: its layers, "blocks.{i}"; table: by path in
    our layers, a layer's names in GGUF and in this layout.
    """
    return {
        **{path: Name(GGUF_TOP[path], hf=hf) for path, hf in top.items()},
        **{
            f"model.layers.{{i}}.{path}": Name(f"blk.{{i}}.{gguf_name}", hf=f"{layers}.{hf}")
            for path, (gguf_name, hf) in table.items()
        },
    }


GGUF_TOP = {
    "model.embed_tokens": "token_embd",
    "model.stream.norm": "token_embd_norm",
    "model.norm": "output_norm",
    "lm_head": "output",
}
