"""Draws one token per row on a GPU, where it stays: what `engine.sampling.choose` does."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor

from engine.sampling.draw import GREEDY, Draw
from engine.sampling.upload import there

UNSOUND, NO_CHOICE = -1, -2
"""Instead of a token: the row has a logit that is no finite number; no token is left."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """What `draw_into` reads of each row, on the host or on a device.

    values: (S, 6) float64, of kernels' own layout. has_filters: whether any row asks for top_k, top_p or
    min_p, without which two kernels less are launched: a captured graph is for one of both.
    """

    values: Tensor
    has_filters: bool

    def to(self, device: torch.device) -> "Parameters":
        """Them there; does not wait."""
        return Parameters(there(self.values, device), self.has_filters)


def prepare(draws: Sequence[Draw], num_rows: int = 0) -> Parameters:
    """On the host, before the logits are there: of what is drawn from, nothing else is looked at.

    num_rows: of a batch that was filled up; what is drawn of further rows means nothing. Of a draw
    whose last tokens are not known yet, see `Draw.ahead`.
    """
    asked = [draw.settings for draw in draws]
    rows = [
        (uniform, temperature, 1 / temperature if temperature else 0.0, top_p, min_p, top_k)
        for uniform, temperature, top_p, min_p, top_k in (
            *asked,
            *[GREEDY] * (num_rows - len(asked)),
        )
    ]
    values = torch.tensor(rows, dtype=torch.float64)
    return Parameters(values, any(each.has_filters for each in asked))


def takes(logits: Tensor) -> bool:
    """Whether these logits can be drawn from here."""
    return logits.device.type == "cuda" and logits.dtype == torch.float32 and _has_triton()


def draw(logits: Tensor, draws: Sequence[Draw], raw: Tensor | None = None) -> Tensor:
    """A token id for each row of logits (S, vocab), `UNSOUND` or `NO_CHOICE`: (S,) int64 beside them.

    Waits for nothing. raw: the logits as the model gave them, where others are drawn from: they say
    whether a row is sound; without them, a logit of -inf makes its row unsound.
    """
    out = torch.empty(len(draws), dtype=torch.int64, device=logits.device)
    parameters = prepare(draws).to(logits.device)
    draw_into(logits, parameters, out, raw)
    return out


def draw_into(
    logits: Tensor, parameters: Parameters, out: Tensor, raw: Tensor | None = None
) -> None:
    """As `draw`, into `out` (S,) int64, all on the logits' device. May be captured in a graph.

    A captured one reads `parameters.values`, `logits` and `raw` where they were.
    """
    from engine.kernels.triton import sampling as kernels

    kernels.draw(logits, parameters.values, out, filters=parameters.has_filters, raw=raw)


@cache
def _has_triton() -> bool:
    return find_spec("triton") is not None
