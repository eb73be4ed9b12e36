"""What an upstream sends, as far as it is read: leniently, since each writes it a little otherwise."""

from typing import Any

from msgspec import Struct


class FunctionPiece(Struct, frozen=True):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class CallPiece(Struct, frozen=True):
    index: int | None = None
    id: str | None = None
    function: FunctionPiece | None = None


class ChunkDelta(Struct, frozen=True):
    """reasoning: other servers' name of `reasoning_content`; some put an object there."""

    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: Any = None
    tool_calls: list[CallPiece] | None = None


class TopToken(Struct, frozen=True):
    token: str
    logprob: float
    bytes: list[int] | None = None
    token_id: int | None = None


class Token(Struct, frozen=True):
    token: str
    logprob: float
    bytes: list[int] | None = None
    token_id: int | None = None
    top_logprobs: list[TopToken] | None = None


class Logprobs(Struct, frozen=True):
    """content: of a chat. The others: of a plain completion, one entry for each token."""

    content: list[Token] | None = None
    tokens: list[str] | None = None
    token_logprobs: list[float | None] | None = None
    top_logprobs: list[dict[str, float] | None] | None = None
    token_ids: list[int] | None = None
    top_token_ids: list[list[int]] | None = None


class ChunkChoice(Struct, frozen=True):
    """delta: of a chat. text: of a plain completion."""

    index: int = 0
    delta: ChunkDelta | None = None
    text: str | None = None
    logprobs: Logprobs | None = None
    finish_reason: str | None = None


class PromptDetails(Struct, frozen=True):
    cached_tokens: int | None = None


class CompletionDetails(Struct, frozen=True):
    reasoning_tokens: int | None = None
    accepted_prediction_tokens: int | None = None
    rejected_prediction_tokens: int | None = None


class Usage(Struct, frozen=True):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None


class Chunk(Struct, frozen=True):
    """error: instead of all else, where it ends in one."""

    choices: list[ChunkChoice] | None = None
    usage: Usage | None = None
    error: Any = None


class Vector(Struct, frozen=True):
    embedding: str | list[float]
    index: int | None = None


class Vectors(Struct, frozen=True):
    data: list[Vector]
    usage: Usage | None = None


class Score(Struct, frozen=True):
    index: int
    relevance_score: float


class Scores(Struct, frozen=True):
    results: list[Score]
    usage: Usage | None = None


class Listed(Struct, frozen=True):
    """A model in a list. The three numbers are different servers' words for one thing."""

    id: str
    created: int | float | None = None
    context_length: int | None = None
    context_window: int | None = None
    max_model_len: int | None = None
    tasks: list[str] | None = None
    capabilities: Any = None


class Listing(Struct, frozen=True):
    data: list[Listed]
