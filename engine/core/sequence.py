"""One generation: its tokens, its limits, and how far the model has come with it."""

from collections.abc import Hashable
from dataclasses import dataclass, field

from engine.api import FinishReason, Sampling
from engine.cache.table import BlockTable
from engine.core.drafts import Drafter
from engine.core.predictions import Predictor
from engine.sampling.grammar import Constraint

MAX_LENGTH = 2**31
"""No sequence is as long."""


@dataclass(slots=True, eq=False)
class Sequence:
    """token_ids: the prompt, and behind it what has been generated.

    owner, number: whose it is, and that owner's number for it. seed: its own random stream.
    num_computed: tokens that the cache holds the outcome of; fewer again after a preemption.
    num_scored: prompt tokens whose log-probability has been given out, if they are wanted.
    num_cached: prompt tokens that were in the cache when it first ran. never_ids: tokens that it must
    not make. first_length: tokens of the first text of a pair, or of all. drafter: guesses what comes
    next, once somebody has asked for that. constraint: the grammar that it follows, as far as it has
    come. prediction: what a client expects it to say. arrived_at, started_at: of some clock, when it
    came and when its first step began; 0 before that. is_begun: its first token is there.
    """

    token_ids: list[int]
    max_tokens: int
    sampling: Sampling = field(default_factory=Sampling)
    seed: int = 0
    min_tokens: int = 0
    stop_ids: frozenset[int] = frozenset()
    never_ids: frozenset[int] = frozenset()
    owner: Hashable = None
    number: int = 0
    num_prompt: int = field(init=False)
    num_computed: int = 0
    num_scored: int = 0
    num_cached: int | None = None
    table: BlockTable = field(default_factory=BlockTable)
    first_length: int = MAX_LENGTH
    drafter: Drafter | None = None
    prediction: tuple[int, ...] = ()
    constraint: Constraint | None = None
    finish_reason: FinishReason | None = None
    arrived_at: float = 0.0
    started_at: float = 0.0
    is_begun: bool = False

    def __post_init__(self) -> None:
        self.num_prompt = len(self.token_ids)

    @property
    def num_output(self) -> int:
        return len(self.token_ids) - self.num_prompt

    @property
    def num_pending(self) -> int:
        """Tokens that the model has yet to read before the next can be drawn."""
        return len(self.token_ids) - self.num_computed

    @property
    def tried(self) -> tuple[int, int]:
        """Tokens of the prediction that were tried: right ones, and wrong ones."""
        drafter = self.drafter
        if not isinstance(drafter, Predictor):
            return 0, 0
        return drafter.num_accepted, drafter.num_rejected

    @property
    def wants_scores(self) -> bool:
        return self.sampling.prompt_logprobs and self.num_scored < self.num_prompt

    def barred_ids(self, num_guessed: int = 0) -> frozenset[int]:
        """Tokens that may not be drawn next, or once so many more were."""
        if self.num_output + num_guessed < self.min_tokens:
            return self.stop_ids | self.never_ids
        return self.never_ids

    def append(self, token_id: int) -> None:
        """Adds a generated token, which may be the last."""
        self.token_ids.append(token_id)
        if token_id in self.stop_ids or (self.constraint and token_id in self.constraint.end_ids):
            self.finish_reason = "stop"
        elif self.num_output >= self.max_tokens:
            self.finish_reason = "length"
        elif self.constraint:
            self.constraint.consume(token_id)
