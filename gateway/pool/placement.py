"""Where a model can go, in which form and with how much cache: from its card and budgets alone.

What else is loaded does not matter here, so the context that a model is promised never changes
while the server runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from engine.api import Device, Footprint, Form, ModelCard

BLOCK_TOKENS = 16
MIN_CONTEXT_TOKENS = 2048
"""A form that leaves less cache than this (or than the model's own context) is not worth having."""

LEAST_STATE_SLOTS = (2, 1)
"""Of a recurrent model: one for a sequence that runs and one for what is reused, or else just one."""
MAX_STATE_SLOTS = 64
"""As many as there is use for: the sequences that a model runs at once, and as many to be reused."""
STATE_SHARE = 4
"""States beyond the least get one part in so many of what the budget leaves: tokens need the rest
of it in a model that keeps both, and other models in one that does not."""


@dataclass(frozen=True, slots=True)
class Placement:
    """How a model is loaded: its form, the cache it gets, and the bytes of it all.

    kv_tokens: also the context that is promised, where nothing is kept of a token.
    state_slots: 0 where nothing is kept of a sequence as a whole.
    """

    form: Form
    kv_tokens: int
    bytes: int
    state_slots: int = 0


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
    """The preferred form that fits `budget` bytes with a useful cache, and as much as fits.

    States get their share first, and tokens what is then left. A form that fits with fewer slots
    than the least that are useful is taken only if no form fits with those.
    """
    context = _whole_blocks(min(card.context_length, max_context or card.context_length))
    least_context = min(context, MIN_CONTEXT_TOKENS)
    for least_slots in LEAST_STATE_SLOTS:
        for footprint in card.footprints:
            left = budget - footprint.total(least_context, least_slots)
            if left >= 0:
                return _placement(footprint, budget, context, _slots(footprint, least_slots, left))
    return TooLarge(min(f.total(least_context, least_slots) for f in card.footprints), budget)


def fit(card: ModelCard, devices: Sequence[Device], max_context: int | None) -> Fit | TooLarge:
    """The best placement that any device can give: preferred form, longest context, most slots.

    Only devices that give exactly that are kept, so that the promise holds wherever it goes.
    """
    forms = [footprint.form for footprint in card.footprints]
    plans = {device.name: plan(card, device.memory_bytes, max_context) for device in devices}
    placements = [p for p in plans.values() if isinstance(p, Placement)]
    if not placements:
        refusals = [p for p in plans.values() if isinstance(p, TooLarge)]
        return max(refusals, key=lambda refusal: refusal.available)
    best = min(placements, key=lambda p: (forms.index(p.form), -p.kv_tokens, -p.state_slots))
    return Fit(best, tuple(name for name, p in plans.items() if p == best))


def fit_on(
    card: ModelCard, devices: Sequence[Device], max_context: int | None, names: Sequence[str]
) -> Fit | TooLarge:
    """As `fit`, on the devices of these names alone; of no names, on any."""
    allowed = [device for device in devices if not names or device.name in names]
    if not allowed:  # none of them is here
        return fit(card, [Device(names[0], 0)], max_context)
    return fit(card, allowed, max_context)


def _whole_blocks(tokens: int) -> int:
    return max(BLOCK_TOKENS, tokens // BLOCK_TOKENS * BLOCK_TOKENS)


def _slots(footprint: Footprint, least: int, left: int) -> int:
    """How many, if `left` bytes are left beside the least."""
    if not footprint.state_bytes_per_sequence:
        return 0
    more = left // STATE_SHARE // footprint.state_bytes_per_sequence
    return min(least + more, MAX_STATE_SLOTS)


def _placement(footprint: Footprint, budget: int, context: int, slots: int) -> Placement:
    kv_tokens = context
    if footprint.kv_bytes_per_token:
        affordable = (budget - footprint.total(0, slots)) // footprint.kv_bytes_per_token
        kv_tokens = min(context, _whole_blocks(affordable))
    return Placement(footprint.form, kv_tokens, footprint.total(kv_tokens, slots), slots)
