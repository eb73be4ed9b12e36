"""Who wants to be on a device and is not: cold models that are asked for, and paused ones."""

from collections.abc import Iterable
from dataclasses import dataclass

from gateway.pool.place import Place
from gateway.pool.state import Model, Phase, Resident


@dataclass(frozen=True, slots=True)
class Wish:
    """since: when the longest wait began, less what priority is worth; wishes are met in its order.

    places: where it may go, all of the same size. needed: bytes on each device of its place.
    paused: the resident that is to come back, or None. may_pause: whether busy models are paused
    for it, if pausing is on at all.
    """

    model: Model
    since: float
    order: tuple[float, bool, int]
    places: tuple[Place, ...]
    needed: int
    paused: Resident | None = None
    may_pause: bool = True

    @property
    def is_pinned(self) -> bool:
        return self.model.terms.pinned


def wishes_of(models: Iterable[Model]) -> list[Wish]:
    """In the order in which they are met. Of equals, what was paused goes first."""
    wishes = [wish for model in models if (wish := wish_of(model)) is not None]
    return sorted(wishes, key=lambda wish: wish.order)


def wish_of(model: Model) -> Wish | None:
    if model.resident is not None:
        return _wish_to_resume(model, model.resident)
    if not model.waiters:
        return None
    first = min(model.waiters.values(), key=lambda waiter: (waiter.rank, waiter.request))
    order = (first.rank, True, first.request)
    return Wish(model, first.rank, order, model.fit.places, model.planned_bytes)


def _wish_to_resume(model: Model, paused: Resident) -> Wish | None:
    if paused.phase is not Phase.PAUSED or paused.is_void or not paused.leases:
        return None
    assert paused.paused_at is not None
    rank = model.rank
    since = paused.paused_at if rank is None else min(rank, paused.paused_at)
    return Wish(model, since, (since, False, paused.handle), (paused.place,), paused.needed, paused)
