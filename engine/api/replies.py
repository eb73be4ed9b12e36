"""What comes of a request, and how the engine is."""

from typing import Literal

from msgspec import Struct, field

from engine.api.errors import Failure

FinishReason = Literal["stop", "length", "tool_calls"]


class TopLogprob(Struct, frozen=True, array_like=True):
    token_id: int
    text: str
    raw: bytes
    logprob: float


class TokenLogprob(Struct, frozen=True, array_like=True):
    """A token with its log-probability; None for a first prompt token, which nothing predicts.

    text: the token alone, U+FFFD where it is half a character. raw: its exact bytes.
    top: the best alternatives, best first; the chosen token is among them if it is one of them.
    """

    token_id: int
    text: str
    raw: bytes
    logprob: float | None
    top: list[TopLogprob]


class Usage(Struct, frozen=True):
    """reasoning_tokens: those of completion_tokens that were thought, not said.

    accepted_tokens, rejected_tokens: those of `Generation.prediction` that were tried, by whether the
    model would have said them.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    accepted_tokens: int = 0
    rejected_tokens: int = 0


class ToolCallDelta(Struct, frozen=True):
    """What was added to a call: first its id and name, then its arguments, pieces of JSON text."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


class Delta(Struct, frozen=True):
    """What one step added to one choice. `usage` and `finish_reason` come with its last delta.

    text never ends inside a character or inside a possible stop string. stop_string: the one of
    `Generation.stop` that ended it, if one did. vector: float32 values, little-endian, of a prompt
    that was embedded; one, of a pair that was scored.
    """

    index: int
    text: str = ""
    reasoning: str = ""
    tool_calls: list[ToolCallDelta] = []
    token_ids: list[int] = []
    logprobs: list[TokenLogprob] = []
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    failure: Failure | None = None
    stop_string: str | None = None
    vector: bytes = b""


class DeviceStats(Struct, frozen=True):
    """What a worker counts, since it started or now.

    warm_*, parked_*: what `HostMemory` is used for now. prompt_tokens: of all prompts that began;
    cached_tokens: those of them that a prefix cache had. drafted_tokens: guesses ahead;
    accepted_tokens: those of them that were right.
    """

    steps: int = 0
    warm_models: int = 0
    warm_bytes: int = 0
    parked_models: int = 0
    parked_bytes: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0


class EngineStatus(Struct, frozen=True):
    """Whether the processes are alive: seconds since the last sign of life, by worker."""

    text_alive: bool
    workers: dict[str, float] = field(default_factory=dict)
    stats: dict[str, DeviceStats] = field(default_factory=dict)
