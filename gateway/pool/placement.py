"""Where a model can go, in which form and with how much context: from its card and budgets alone.

What else is loaded does not matter here, so the context that a model is promised never changes
while the server runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from engine.api import Device, Footprint, Form, ModelCard

BLOCK_TOKENS = 16
MIN_CONTEXT_TOKENS = 2048
"""A form that leaves less cache than this (or than the model's own context) is not worth having."""


@dataclass(frozen=True, slots=True)
class Placement:
    """How a model is loaded: its form, the tokens of cache it gets, and the bytes of it all."""

    form: Form
    kv_tokens: int
    bytes: int


@dataclass(frozen=True, slots=True)
class TooLarge:
    """The smallest form needs more bytes than the device may ever use."""

    needed: int
    available: int


@dataclass(frozen=True, slots=True)
class Fit:
    """A placement, and the devices that can give it."""

    placement: Placement
    devices: tuple[str, ...]


def plan(card: ModelCard, budget: int, max_context: int | None) -> Placement | TooLarge:
    """The preferred form that fits `budget` bytes with a useful context, and as much as fits."""
    context = _whole_blocks(min(card.context_length, max_context or card.context_length))
    least_context = min(context, MIN_CONTEXT_TOKENS)
    for footprint in card.footprints:
        if footprint.total(least_context) <= budget:
            kv_tokens = min(context, _affordable_tokens(footprint, budget, context))
            return Placement(footprint.form, kv_tokens, footprint.total(kv_tokens))
    return TooLarge(min(f.total(least_context) for f in card.footprints), budget)


def fit(card: ModelCard, devices: Sequence[Device], max_context: int | None) -> Fit | TooLarge:
    """The best placement that any device can give: preferred form first, then longest context.

    Only devices that give exactly that are kept, so that the promise holds wherever it goes.
    """
    forms = [footprint.form for footprint in card.footprints]
    plans = {device.name: plan(card, device.memory_bytes, max_context) for device in devices}
    placements = [p for p in plans.values() if isinstance(p, Placement)]
    if not placements:
        refusals = [p for p in plans.values() if isinstance(p, TooLarge)]
        return max(refusals, key=lambda refusal: refusal.available)
    best = min(placements, key=lambda p: (forms.index(p.form), -p.kv_tokens))
    return Fit(best, tuple(name for name, p in plans.items() if p == best))


def _whole_blocks(tokens: int) -> int:
    return max(BLOCK_TOKENS, tokens // BLOCK_TOKENS * BLOCK_TOKENS)


def _affordable_tokens(footprint: Footprint, budget: int, context: int) -> int:
    if not footprint.kv_bytes_per_token:
        return context
    return _whole_blocks((budget - footprint.total(0)) // footprint.kv_bytes_per_token)
