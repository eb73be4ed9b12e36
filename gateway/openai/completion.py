from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from gateway.llamacpp.timings import Timings
from gateway.openai.sampling import Count, PositiveCount, SamplingFields, TokenId
from gateway.openai.usage import Usage


class CompletionRequest(SamplingFields, frozen=True, kw_only=True):
    """prompt: a text, texts, token ids, or lists of token ids; the kinds are not mixed.

    suffix: what follows the gap behind `prompt`, a text then; none where it is empty, as with OpenAI.
    """

    prompt: str | list[str | TokenId | list[TokenId]] | None = None
    max_tokens: Count | None = None
    logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    echo: bool | None = None
    best_of: PositiveCount | None = None
    suffix: str | None = None
    timings_per_token: bool | None = None


class Logprobs(Struct, frozen=True):
    """One entry per token in every list.

    The keys of `top_logprobs` name tokens; where a text would stand for two tokens the later one is
    called `token_id:N`, so that no alternative is lost. `token_ids` and `top_token_ids` are our
    extras: the same tokens by number, in the same order.
    """

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None] | None
    text_offset: list[int]
    token_ids: list[int]
    top_token_ids: list[list[int]]


class CompletionChoice(Struct, frozen=True):
    index: int
    text: str
    logprobs: Logprobs | None
    finish_reason: str | None


class Completion(Struct, frozen=True, kw_only=True):
    """A whole reply, or a chunk of a stream: they share their shape and their object name."""

    id: str
    created: int
    model: str
    choices: list[CompletionChoice]
    object: str = "text_completion"
    system_fingerprint: str | None = None
    usage: Usage | UnsetType | None = UNSET
    timings: Timings | UnsetType = UNSET
