"""One sampler for a whole batch."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from engine.api import Failure
from engine.sampling import device, native
from engine.sampling.adjust import adjust
from engine.sampling.choose import best_of, choose
from engine.sampling.draw import Choice, Draw
from engine.sampling.logprobs import score

PASS_BYTES = 32 * 2**20
UNSOUND = Failure("internal", "the model computed logits that are not finite numbers")
NO_CHOICE = Failure("internal", "no token is left to choose from")


def sample(logits: Tensor, draws: list[Draw]) -> list[Choice | Failure]:
    """A choice for each row of logits (S, vocab) float32, or why there is none.

    Rows do not influence each other, so one that is broken fails alone.
    """
    # cumulative weights are float64; a large vocabulary times a large batch would be gigabytes
    per_pass = max(1, PASS_BYTES // (8 * logits.shape[-1]))
    if device.takes(logits):  # which has none, and would be waited for after each pass
        per_pass = max(1, len(draws))
    results: list[Choice | Failure] = []
    for start in range(0, len(draws), per_pass):
        end = start + per_pass
        results += _sample(logits[start:end], draws[start:end])
    return results


def is_sound(logits: Tensor) -> list[bool]:
    """Whether each row of logits (R, vocab) is made of numbers only."""
    least, most = torch.aminmax(logits, dim=-1)  # both carry a NaN on
    sound: list[bool] = (least.isfinite() & most.isfinite()).tolist()
    return sound


def _sample(logits: Tensor, draws: list[Draw]) -> Iterator[Choice | Failure]:
    adjusted = adjust(logits, draws)
    chosen = _drawing(adjusted)(logits, adjusted, draws)
    asked = {
        row: token_id
        for row, token_id in enumerate(chosen)
        if isinstance(token_id, int) and draws[row].sampling.logprobs is not None
    }
    rows, num_top = list(asked), [draws[row].sampling.logprobs or 0 for row in asked]
    # a copy of all rows would take as long as the draw
    of_asked = logits if len(rows) == len(logits) else logits[rows]
    scores = score(of_asked, list(asked.values()), num_top) if rows else []
    by_row = dict(zip(rows, scores, strict=True))
    for row, token_id in enumerate(chosen):
        yield Choice(token_id, by_row.get(row)) if isinstance(token_id, int) else token_id


def _drawing(logits: Tensor) -> Callable[[Tensor, Tensor, list[Draw]], list[int | Failure]]:
    """What can draw from these."""
    if native.takes(logits):
        return _drawn_natively
    return _drawn_there if device.takes(logits) else _drawn


def _drawn(logits: Tensor, adjusted: Tensor, draws: list[Draw]) -> list[int | Failure]:
    failures = _failures(logits, adjusted)
    rows = [row for row, failure in enumerate(failures) if failure is None]
    chosen = iter(choose(adjusted[rows], [draws[row] for row in rows]) if rows else [])
    return [next(chosen) if failure is None else failure for failure in failures]


def _failures(logits: Tensor, adjusted: Tensor) -> list[Failure | None]:
    has_choice: list[bool] = best_of(adjusted).flatten().isfinite().tolist()
    return [
        UNSOUND if not sound else None if choice else NO_CHOICE
        for sound, choice in zip(is_sound(logits), has_choice, strict=True)
    ]


def _drawn_natively(logits: Tensor, adjusted: Tensor, draws: list[Draw]) -> list[int | Failure]:
    is_adjusted = adjusted is not logits
    sound = native.is_sound(logits) if is_adjusted else [True] * len(draws)
    chosen = native.choose(adjusted, draws, check=not is_adjusted)
    return [
        outcome(token_id) if is_sound else UNSOUND
        for token_id, is_sound in zip(chosen, sound, strict=True)
    ]


def _drawn_there(logits: Tensor, adjusted: Tensor, draws: list[Draw]) -> list[int | Failure]:
    """On the logits' own device; waits for it once."""
    raw = None if adjusted is logits else logits
    chosen: list[int] = device.draw(adjusted, draws, raw).tolist()
    return [outcome(token_id) for token_id in chosen]


def outcome(token_id: int) -> int | Failure:
    """A drawn token, or what it says instead: `native.UNSOUND` and `device.UNSOUND` are one."""
    if token_id == native.UNSOUND:
        return UNSOUND
    return NO_CHOICE if token_id == native.NO_CHOICE else token_id
