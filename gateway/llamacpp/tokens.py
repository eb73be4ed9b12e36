"""Tokens and texts, in llama.cpp's words and vLLM's."""

from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType


class TokenizeRequest(Struct, frozen=True, kw_only=True):
    """content, add_special, parse_special, with_pieces: llama.cpp's. The others: vLLM's.

    With `messages` it is a chat completion's body, of which the prompt is tokenized.
    """

    model: str | None = None
    content: str | None = None
    add_special: bool = False
    parse_special: bool = True
    with_pieces: bool = False
    prompt: str | None = None
    messages: list[Any] | None = None
    add_special_tokens: bool = True
    return_token_strs: bool | None = None


class Piece(Struct, frozen=True):
    """piece: text, or its bytes if they are none of their own."""

    id: int
    piece: str | list[int]


class Tokens(Struct, frozen=True):
    tokens: list[int | Piece]
    count: int
    max_model_len: int
    token_strs: list[str] | UnsetType | None = UNSET


class DetokenizeRequest(Struct, frozen=True, kw_only=True):
    tokens: list[Annotated[int, Meta(ge=0, le=2**31 - 1)]]
    model: str | None = None


class Text(Struct, frozen=True):
    """The same text twice: `content` is llama.cpp's name of it, `prompt` vLLM's."""

    content: str
    prompt: str


class Rendered(Struct, frozen=True):
    prompt: str
