"""How much a step may be at most: what schedulers keep to, and workspace is counted for."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StepLimits:
    """sequences: that run at once. rows: tokens of a batch. logit_rows: rows that logits are wanted of.

    Each running sequence may sample, and a prompt's tokens may be scored beside them.
    """

    sequences: int
    rows: int
    logit_rows: int


HOST = StepLimits(sequences=32, rows=512, logit_rows=64)
DEVICE = StepLimits(sequences=64, rows=1024, logit_rows=128)
"""A GPU has a step of 64 decodes for little more than one of 32, and wants longer chunks of prompts."""
