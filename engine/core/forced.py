"""Guesses at what a grammar leaves no choice of: names of members, brackets, ends of words.

What must come next is certain as text, but not as tokens, of which a model may choose others to
spell it; so it is a guess like any other (`core.drafts`), and mostly right. A step then reads the
weights once for all of it.
"""

from collections.abc import Sequence as Many
from dataclasses import dataclass

from engine.core.drafts import Drafter
from engine.sampling.grammar import Constraint


@dataclass(slots=True, kw_only=True)
class ForcedDrafter(Drafter):
    """falls_back: where there is a choice, what was said before is guessed, if the grammar allows it."""

    constraint: Constraint
    falls_back: bool = False

    def _guess(self, token_ids: Many[int], count: int) -> tuple[int, ...]:
        forced = self.constraint.forced(count)
        if forced or not self.falls_back:
            return forced
        return self.constraint.followed(Drafter._guess(self, token_ids, count))  # noqa: SLF001
