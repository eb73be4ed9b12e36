"""What the sampler is asked, and what it answers, for one sequence."""

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from struct import pack

from torch import Tensor

from engine.api import Sampling
from engine.wire import Logprob

_MASK_64 = 2**64 - 1


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
