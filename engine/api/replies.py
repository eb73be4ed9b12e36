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


class Spent(Struct, frozen=True, array_like=True, eq=False):
    """What a worker needed for a first token. All are equal: it is no part of what was asked for.

    queue_seconds: from the sequence's arrival to its first step. prefill_seconds: from there on.
    """

    queue_seconds: float = 0.0
    prefill_seconds: float = 0.0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Spent)

    def __hash__(self) -> int:
        return 0


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
    spent: Spent = Spent()


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


TOKEN_SECONDS_BOUNDS = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5),
    *(0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0),
)
STEP_TOKENS_BOUNDS = (1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
"""Upper bounds of the counts in `ModelStats`: vLLM's, so that its dashboards fit."""


class ModelStats(Struct, frozen=True):
    """What a worker counts of one checkpoint, since it started; running, waiting and blocks now.

    token_seconds: how often two tokens of a sequence came so far apart, by `TOKEN_SECONDS_BOUNDS`, what
    is beyond them last; step_tokens: likewise tokens that a step computed, by `STEP_TOKENS_BOUNDS`.
    """

    running: int = 0
    waiting: int = 0
    block_size: int = 0
    num_blocks: int = 0
    free_blocks: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    preemptions: int = 0
    token_seconds: tuple[int, ...] = (0,) * (len(TOKEN_SECONDS_BOUNDS) + 1)
    token_seconds_sum: float = 0.0
    step_tokens: tuple[int, ...] = (0,) * (len(STEP_TOKENS_BOUNDS) + 1)
    step_tokens_sum: int = 0


class DeviceStats(Struct, frozen=True):
    """What a worker counts, since it started or now.

    warm_*, parked_*: what `HostMemory` is used for now. prompt_tokens: of all prompts that began;
    cached_tokens: those of them that a prefix cache had. drafted_tokens: guesses ahead;
    accepted_tokens: those of them that were right. unreclaimed_bytes: memory of the process that did
    not come back with the models that left, as of when none was there last. models: by their path.
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
    unreclaimed_bytes: int = 0
    models: dict[str, ModelStats] = {}


class EngineStatus(Struct, frozen=True):
    """Whether the processes are alive: seconds since the last sign of life, by worker."""

    text_alive: bool
    workers: dict[str, float] = field(default_factory=dict)
    stats: dict[str, DeviceStats] = field(default_factory=dict)
