"""Guesses at a sequence's next tokens from a text that its client expects. Pure.

An edit says again most of what it edits, so whoever asks for it can send that text along
(OpenAI's predicted outputs). The model's own choice decides, as with all guesses (`core.drafts`).
"""

from collections.abc import Sequence as Many
from dataclasses import dataclass, field

from engine.core.drafts import LONGEST_MATCH, SHORTEST_MATCH, Drafter, Gram


@dataclass(slots=True)
class Predictor(Drafter):
    """Follows the prediction for as long as it comes true, and finds its place again behind an edit.

    num_prompt: tokens of the sequence that were not said. num_accepted, num_rejected: predicted tokens
    that were tried, by their fate. falls_back: where the prediction has nothing to say, what the
    sequence has said before is asked.
    """

    prediction: tuple[int, ...] = ()
    num_prompt: int = 0
    falls_back: bool = False
    num_accepted: int = 0
    num_rejected: int = 0
    _num_followed: int = 0
    _place: int | None = 0
    _reached: int = 0
    _is_predicted: bool = False
    _continuations: dict[Gram, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for end in range(SHORTEST_MATCH, len(self.prediction)):
            for size in range(SHORTEST_MATCH, min(LONGEST_MATCH, end) + 1):
                gram = self.prediction[end - size : end]
                self._continuations.setdefault(gram, []).append(end)

    def judged(self, num_drafted: int, num_accepted: int) -> None:
        if self._is_predicted:
            self.num_accepted += num_accepted
            self.num_rejected += num_drafted - num_accepted
        Drafter.judged(self, num_drafted, num_accepted)

    def _guess(self, token_ids: Many[int], count: int) -> tuple[int, ...]:
        self._follow(token_ids)
        place = self._place
        ahead = () if place is None else self.prediction[place : place + count]
        self._is_predicted = bool(ahead)
        if ahead or not self.falls_back:
            return ahead
        return Drafter._guess(self, token_ids, count)  # noqa: SLF001 - its own base's

    def _follow(self, token_ids: Many[int]) -> None:
        """Goes along with what has been said since it was last asked."""
        said = token_ids[self.num_prompt + self._num_followed :]
        self._num_followed += len(said)
        for token_id in said:
            self._step(token_id)
        if self._place is None:
            self._place = self._found(token_ids)
        if self._place is not None:
            self._reached = self._place

    def _step(self, token_id: int) -> None:
        place = self._place
        if place is None:
            return
        is_right = place < len(self.prediction) and self.prediction[place] == token_id
        self._place = place + 1 if is_right else None

    def _found(self, token_ids: Many[int]) -> int | None:
        """Where the last tokens stand in the prediction: ahead of where it was left, if they do."""
        num_said = len(token_ids) - self.num_prompt
        for size in range(min(LONGEST_MATCH, num_said), SHORTEST_MATCH - 1, -1):
            places = self._continuations.get(tuple(token_ids[-size:]))
            if places:
                return next((place for place in places if place >= self._reached), places[0])
        return None

    def _index(self, token_ids: Many[int]) -> None:
        if self.falls_back:
            Drafter._index(self, token_ids)  # noqa: SLF001 - its own base's
