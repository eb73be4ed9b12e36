"""What the sampler is asked, and what it answers, for one sequence."""

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from struct import pack
from typing import NamedTuple, Self

from torch import Tensor

from engine.api import Sampling
from engine.wire import Logprob

GREEDY_TEMPERATURE = 1e-5
"""At or below it the best token is taken: dividing by less would leave float32's range."""

MAX_TEMPERATURE = 3e38
"""So does float32 itself what is above."""

_MASK_64 = 2**64 - 1


class Settings(NamedTuple):
    """What a draw depends on beside the logits. temperature: 0 takes the best; top_k: 0 keeps all."""

    uniform: float
    temperature: float
    top_p: float
    min_p: float
    top_k: int

    @property
    def has_filters(self) -> bool:
        """Whether there may be tokens with a weight that stays out."""
        return self.top_k > 0 or self.top_p < 1 or self.min_p > 0


GREEDY = Settings(0.0, 0.0, 1.0, 0.0, 0)


@dataclass(frozen=True, slots=True)
class Draw:
    """Choose the token behind `token_ids`, of which the first `num_prompt` are the prompt.

    barred_ids: tokens that may not come next. mask: bool (vocab,), true for what a grammar rules out;
    where it leaves nothing but what is barred, it wins.
    """

    sampling: Sampling
    seed: int
    token_ids: Sequence[int]
    num_prompt: int
    barred_ids: Collection[int] = ()
    mask: Tensor | None = None

    @property
    def output_ids(self) -> Sequence[int]:
        return self.token_ids[self.num_prompt :]

    @property
    def is_greedy(self) -> bool:
        return self.sampling.temperature <= GREEDY_TEMPERATURE

    @property
    def temperature(self) -> float:
        return min(self.sampling.temperature, MAX_TEMPERATURE)

    @property
    def settings(self) -> Settings:
        """For kernels, in numbers that fit theirs; one of the greedy knows nothing of the others."""
        if self.is_greedy:
            return GREEDY
        asked = self.sampling
        top_k = min(max(asked.top_k, 0), 2**31 - 1)
        return Settings(self.uniform, self.temperature, asked.top_p, asked.min_p, top_k)

    def ahead(self, count: int = 1) -> Self:
        """The draw so many tokens on, which need not be known: of them it is their number that counts.

        Right where nothing of the draw looks at tokens: no penalties, and no mask.
        """
        return replace(self, token_ids=range(len(self.token_ids) + count))

    @property
    def uniform(self) -> float:
        """A number in [0, 1) that depends on the seed and on the step, and on nothing else.

        A generator with state would have to survive preemption; a counter does by itself.
        """
        counter = pack("<QQ", self.seed & _MASK_64, len(self.token_ids) - self.num_prompt)
        bits = int.from_bytes(blake2b(counter, digest_size=8).digest(), "little")
        return (bits >> 11) * 2.0**-53


@dataclass(frozen=True, slots=True)
class Choice:
    token_id: int
    logprob: Logprob | None = None


def seed_of(sampling: Sampling) -> int:
    """The seed that was asked for, or a fresh one."""
    return secrets.randbits(63) if sampling.seed is None else sampling.seed
