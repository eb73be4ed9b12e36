from typing import Annotated, Literal

from msgspec import Meta, Raw, Struct

from gateway.openai.sampling import PositiveCount, TokenId

InputType = Literal["query", "document", "passage", "search_query", "search_document"]


class EmbeddingRequest(Struct, frozen=True, kw_only=True):
    """input: a text, texts, token ids, or lists of token ids; the kinds are not mixed.

    dimensions: so many leading values of each vector, made of length 1 again. prompt_name: which of the
    model's prompts is put before each text; input_type: the same, in Cohere's words.
    truncate_prompt_tokens: longer inputs are cut to so many, or with -1 to what the model reads.
    `user` and unknown fields are ignored.
    """

    model: str
    input: str | list[str | TokenId | list[TokenId]]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: PositiveCount | None = None
    prompt_name: str | None = None
    input_type: InputType | None = None
    truncate_prompt_tokens: Annotated[int, Meta(ge=-1)] | None = None
    keep_alive: str | float | None = None


class EmbeddingObject(Struct, frozen=True):
    """embedding: the values, as JSON or not yet, or their little-endian float32 bytes in base64."""

    index: int
    embedding: list[float] | str | Raw
    object: str = "embedding"


class EmbeddingUsage(Struct, frozen=True):
    prompt_tokens: int
    total_tokens: int


class EmbeddingReply(Struct, frozen=True):
    data: list[EmbeddingObject]
    model: str
    usage: EmbeddingUsage
    object: str = "list"
