"""Of several choices for one prompt, those that the model itself held to be the likeliest."""

from collections import defaultdict
from dataclasses import dataclass, field

from engine.api import Delta


@dataclass(slots=True)
class Best:
    """Scores choices by the mean log-probability of their tokens, as OpenAI's `best_of` does."""

    _logprobs: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))

    def note(self, delta: Delta) -> None:
        """Its tokens' log-probabilities; those of an echoed prompt come before them."""
        generated = delta.logprobs[len(delta.logprobs) - len(delta.token_ids) :]
        self._logprobs[delta.index] += [t.logprob for t in generated if t.logprob is not None]

    def kept(self, num_prompts: int, num_made: int, num_kept: int) -> list[int]:
        """Indices of the best `num_kept` of each prompt's `num_made`, the best first."""
        kept: list[int] = []
        for prompt in range(num_prompts):
            made = range(prompt * num_made, (prompt + 1) * num_made)
            kept += sorted(made, key=self._mean, reverse=True)[:num_kept]
        return kept

    def _mean(self, index: int) -> float:
        logprobs = self._logprobs[index]
        return sum(logprobs) / len(logprobs) if logprobs else float("-inf")
