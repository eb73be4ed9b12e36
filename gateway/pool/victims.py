"""Which residents make room: the fewest that are enough, those that are missed least."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from gateway.pool.state import Model, Phase, Resident

USES_HALVE_SECONDS = 600.0
LOAD_BYTES_PER_SECOND = 2e9
"""A guess for models that were never loaded; measured for all others."""

Worth = Callable[[Resident], float]
"""The least worth goes first, among residents that are equally free to go."""


def last_used(resident: Resident) -> float:
    return resident.last_used


def cost_aware(models: dict[str, Model], now: float) -> Worth:
    """Seconds that it takes to come back, times how often it will be missed, for each byte."""

    def worth(resident: Resident) -> float:
        model = models[resident.model]
        frequency = decayed_uses(model, now)
        num_bytes = resident.total_bytes
        return reload_seconds(model, num_bytes) * frequency / max(1, num_bytes)

    return worth


def decayed_uses(model: Model, now: float) -> float:
    """How often the model was used, what is long ago counting less."""
    return model.uses * math.pow(0.5, max(0.0, now - model.uses_at) / USES_HALVE_SECONDS)


def reload_seconds(model: Model, num_bytes: int) -> float:
    """As measured last time, else by the bytes."""
    if model.load_seconds is not None:
        return model.load_seconds
    return num_bytes / LOAD_BYTES_PER_SECOND


def choose_victims(
    candidates: Iterable[Resident], shortages: Mapping[str, int], worth: Worth = last_used
) -> tuple[Resident, ...] | None:
    """The fewest residents that hold what is short, least worth first; None if too few.

    shortages: bytes by device; no device is short of what is zero or less.
    Idle ones come first, then those being drained already, then busy ones, and at last those still
    loading, whose waiters have their turn before they are closed.
    """
    short = Counter(shortages)
    chosen: list[Resident] = []
    for resident in sorted(candidates, key=lambda resident: reluctance(resident, worth)):
        if any(short[device] > 0 for device in resident.place):
            chosen.append(resident)
            short.subtract(gain_of(resident))
    if any(missing > 0 for missing in short.values()):
        return None
    for resident in reversed(tuple(chosen)):  # a later, larger one may have made some superfluous
        if all(short[device] + resident.bytes <= 0 for device in resident.place):
            chosen.remove(resident)
            short.update(gain_of(resident))
    return tuple(chosen)


def gain_of(*residents: Resident) -> Counter[str]:
    """Bytes by device that are free once these are gone."""
    gain: Counter[str] = Counter()
    for resident in residents:
        gain.update(dict.fromkeys(resident.place, resident.bytes))
    return gain


def reluctance(resident: Resident, worth: Worth) -> tuple[bool, bool, bool, float]:
    return (
        resident.phase is Phase.LOADING,
        bool(resident.leases),
        bool(resident.leases) and resident.phase is not Phase.DRAINING,
        worth(resident),
    )
