"""Ranks that compute one model together, each with a part of its weights."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

LABEL = "group"
"""What a recording calls it."""


@dataclass(slots=True, eq=False)
class Group:
    """What blocks of a model that is spread over ranks are given, as they are given weights.

    sum: of all ranks' tensors of one shape, in a new tensor of its dtype; every rank calls it for
    the same values in the same order, and all get the same. None until they have met.
    token: stands for the group in recordings.
    """

    sum: Callable[[Tensor], Tensor] | None = None
    token: Tensor = field(default_factory=lambda: torch.empty(0), repr=False)
