"""Guesses at a sequence's next tokens, from what it has said before. Pure.

Prompt lookup: where the last few tokens occurred earlier, what followed them is likely to follow
again (code that is edited, text that is quoted). A guess costs rows of a step that would read all
weights anyway; the model's own choice decides, so guesses change what is said by nothing at all.
Source: Saxena, "Prompt Lookup Decoding" (2023); Yang et al., arXiv:2304.04487.
"""

from collections.abc import Sequence as Many
from dataclasses import dataclass, field

LONGEST_MATCH, SHORTEST_MATCH = 4, 2
"""Tokens that must recur. The longest are tried first: they mislead least."""

START_TOKENS, LEAST_TOKENS = 3, 1
"""How many to guess at first, and after nothing but wrong guesses. Rows cost least up to there."""

PAUSE_STEPS, LONGEST_PAUSE_STEPS = 8, 64
"""For so long a sequence whose guesses all fail is left alone: twice as long each time."""

Gram = tuple[int, ...]


@dataclass(slots=True)
class Drafter:
    """Guesses for one sequence, more of them the more came true.

    max_tokens: the most that it ever guesses at once.
    """

    max_tokens: int
    _length: int = START_TOKENS
    _silent_steps: int = 0
    _pause_steps: int = PAUSE_STEPS
    _num_indexed: int = 0
    _places: dict[Gram, int] = field(default_factory=dict)

    def draft(self, token_ids: Many[int], limit: int) -> tuple[int, ...]:
        """At most `limit` tokens that may follow; none where nothing is known. Once a step."""
        self._index(token_ids)
        if self._silent_steps:
            self._silent_steps -= 1
            return ()
        count = min(self._length, self.max_tokens, limit)
        return self._guess(token_ids, count) if count > 0 else ()

    def judged(self, num_drafted: int, num_accepted: int) -> None:
        """Of the last draft so many tokens were right."""
        if not num_drafted:
            return
        if num_accepted:
            self._pause_steps = PAUSE_STEPS
        if num_accepted == num_drafted:
            self._length = min(2 * self._length, self.max_tokens)
        elif num_accepted:
            self._length = max(LEAST_TOKENS, num_accepted)
        elif self._length > LEAST_TOKENS:
            self._length = max(LEAST_TOKENS, self._length // 2)
        else:
            self._silent_steps = self._pause_steps
            self._pause_steps = min(2 * self._pause_steps, LONGEST_PAUSE_STEPS)

    def _guess(self, token_ids: Many[int], count: int) -> tuple[int, ...]:
        for size in range(LONGEST_MATCH, SHORTEST_MATCH - 1, -1):
            place = self._places.get(tuple(token_ids[-size:]))
            if place is not None:
                # beyond the end it copies itself: what goes round in a circle is expected to go on
                period = len(token_ids) - place
                return tuple(token_ids[place + ahead % period] for ahead in range(count))
        return ()

    def _index(self, token_ids: Many[int]) -> None:
        """Where each run of tokens was last followed by another: the newest place counts."""
        for end in range(max(self._num_indexed, SHORTEST_MATCH), len(token_ids)):
            for size in range(SHORTEST_MATCH, min(LONGEST_MATCH, end) + 1):
                self._places[tuple(token_ids[end - size : end])] = end
        self._num_indexed = max(self._num_indexed, len(token_ids))
