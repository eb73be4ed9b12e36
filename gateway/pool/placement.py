"""Where a model can go, in which form and with how much cache: from its card and budgets alone.

What else is loaded does not matter here, so the context that a model is promised never changes
while the server runs.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from engine.api import Device, Footprint, Form, ModelCard
from gateway.pool.place import Place

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

    bytes: on each of its devices. kv_tokens: also the context that is promised, where nothing is
    kept of a token.
    state_slots: 0 where nothing is kept of a sequence as a whole.
    """

    form: Form
    kv_tokens: int
    bytes: int
    state_slots: int = 0


@dataclass(frozen=True, slots=True)
class TooLarge:
    """The smallest form needs more bytes than its devices may ever use; both of all together."""

    needed: int
    available: int


@dataclass(frozen=True, slots=True)
class Fit:
    """A placement, and the places that can give it, all of the same size."""

    placement: Placement
    places: tuple[Place, ...]

    @property
    def total_bytes(self) -> int:
        """On all devices of a place together."""
        return self.placement.bytes * len(self.places[0])


def plan(
    card: ModelCard,
    budget: int,
    max_context: int | None,
    num_devices: int = 1,
    kind: str | None = None,
) -> Placement | TooLarge:
    """The preferred form that fits `budget` bytes with a useful cache, and as much as fits.

    States get their share first, and tokens what is then left. A form that fits with fewer slots
    than the least that are useful is taken only if no form fits with those. budget: of each device.
    kind: of the devices; None for any. There must be a form for it.
    """
    footprints = [
        _share(footprint, num_devices)
        for footprint in card.footprints
        if kind in {None, footprint.kind}
    ]
    context = _whole_blocks(min(card.context_length, max_context or card.context_length))
    least_context = min(context, MIN_CONTEXT_TOKENS)
    for least_slots in LEAST_STATE_SLOTS:
        for footprint in footprints:
            left = budget - footprint.total(least_context, least_slots)
            if left >= 0:
                return _placement(footprint, budget, context, _slots(footprint, least_slots, left))
    needed = min(f.total(least_context, least_slots) for f in footprints)
    return TooLarge(needed * num_devices, budget * num_devices)


def fit(
    card: ModelCard,
    devices: Iterable[Device],
    max_context: int | None,
    places: Sequence[Place],
) -> Fit | TooLarge:
    """The best placement: preferred form, longest context, most slots, on the fewest devices.

    Of the kind of device whose forms come first; of another only where none of that kind holds it.
    Only places that give exactly that are kept, so that the promise holds wherever it goes.
    """
    by_name = {device.name: device for device in devices}
    refusals: list[TooLarge] = []
    for kind in dict.fromkeys(footprint.kind for footprint in card.footprints):
        budgets = {
            place: min(by_name[name].memory_bytes for name in place)
            for place in places
            if all(by_name[name].kind == kind for name in place)
        }
        plans = {
            place: plan(card, budget, max_context, len(place), kind)
            for place, budget in budgets.items()
        }
        if found := {place: p for place, p in plans.items() if isinstance(p, Placement)}:
            return _best(card, found)
        refusals += [p for p in plans.values() if isinstance(p, TooLarge)]
    return max(refusals, key=lambda r: r.available, default=_nowhere(card, max_context))


def _best(card: ModelCard, found: Mapping[Place, Placement]) -> Fit:
    """found: at least one."""
    forms = [footprint.form for footprint in card.footprints]
    fewest = min(map(len, found))
    small = {place: placement for place, placement in found.items() if len(place) == fewest}
    best = min(small.values(), key=lambda p: (forms.index(p.form), -p.kv_tokens, -p.state_slots))
    return Fit(best, tuple(place for place, placement in small.items() if placement == best))


def _nowhere(card: ModelCard, max_context: int | None) -> TooLarge:
    refusal = plan(card, 0, max_context)
    assert isinstance(refusal, TooLarge)
    return refusal


def _share(footprint: Footprint, num_devices: int) -> Footprint:
    """What each of several devices holds: a part of what can be divided, and the rest in full.

    Layers are split by heads and by the inner width of their networks; embeddings, norms and much
    of what recurrent layers have are not. Activations pass through each device in full width.
    """

    def of(num_bytes: int, whole: int) -> int:
        return whole - (whole - num_bytes) // num_devices if num_devices > 1 else num_bytes

    return msgspec.structs.replace(
        footprint,
        weights_bytes=of(footprint.weights_bytes, footprint.whole_weights_bytes),
        kv_bytes_per_token=of(footprint.kv_bytes_per_token, footprint.whole_kv_bytes_per_token),
        state_bytes_per_sequence=of(
            footprint.state_bytes_per_sequence, footprint.whole_state_bytes
        ),
    )


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
