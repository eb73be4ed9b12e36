"""All claims on all devices: what each wish gets, in the order of the wishes."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from gateway.pool.actions import OnlyPinnedLeft
from gateway.pool.groups import Groups
from gateway.pool.ledger import Ledger
from gateway.pool.room import Rivals, Room, Rules, Spaces, least_disturbing
from gateway.pool.space import Claim
from gateway.pool.state import Model, Phase, Resident
from gateway.pool.victims import gain_of, reluctance
from gateway.pool.wishes import Wish


class Claims:
    """Works out, for one moment, who makes room for whom. Changes nothing."""

    def __init__(
        self,
        devices: Iterable[str],
        ledger: Ledger,
        models: dict[str, Model],
        *,
        groups: Groups,
        rules: Rules,
    ) -> None:
        residents = [model.resident for model in models.values() if model.resident is not None]
        self._spaces = Spaces(devices, ledger, residents, rules)
        self.accepted: list[Claim] = []
        self._may_pause = True
        self._models, self._groups, self._rules = models, groups, rules
        loaded = [r for r in residents if r.phase is not Phase.PAUSED]
        self._leaving = [r for r in loaded if r.is_leaving]
        self._staying = [r for r in loaded if not r.is_leaving]
        self._pinned = [r for r in self._staying if models[r.model].terms.pinned]

    def claim(self, wish: Wish) -> Claim | None:
        """Claims room where that disturbs least, and books it. None: there is none to be had."""
        claim = self.look(wish)
        if claim is None and wish.is_pinned:
            self._may_pause = False  # it waits until nobody is paused, so nobody new is
        if claim is not None:
            self.accepted.append(claim)
            self._staying = [r for r in self._staying if r not in claim.victims]
            self._leaving += claim.victims
            self._spaces.accept(claim)
        return claim

    def look(self, wish: Wish) -> Claim | None:
        """The claim that would be made, without making it."""
        wish = replace(wish, may_pause=self._may_pause)
        rivals = self._rivals(wish)
        if rivals is None:
            return None
        claim = self._best(wish, rivals, self._pinned)
        if claim is None and wish.paused is not None:
            # a pin set meanwhile does not cut streams: it counts once they have had their room
            claim = self._best(wish, rivals, ())
        return claim

    def pinned_in_the_way(self, wish: Wish) -> OnlyPinnedLeft | None:
        """The refusal, if the model would fit but for those that are pinned."""
        if wish.paused is not None or not self._pinned:
            return None
        rooms = self._spaces.rooms_for(wish)
        fits = [self._beside_pinned(room) >= room.needed_for(wish) for room in rooms]
        if rooms and (not any(fits) or self._is_excluded(wish)):
            available = max(map(self._beside_pinned, rooms))
            num_devices = len(rooms[0].place)
            return OnlyPinnedLeft(wish.needed * num_devices, max(0, available) * num_devices)
        return None

    def _best(self, wish: Wish, rivals: Rivals, pinned: Sequence[Resident]) -> Claim | None:
        offers = []
        for room in self._spaces.rooms_for(wish):
            if wish.is_pinned and not wish.paused and room.has_paused:
                continue  # a newcomer that never leaves could keep a paused one out for ever
            claim = room.offer(wish, rivals, pinned)
            if claim is not None:
                offers.append((room, claim))
        return least_disturbing(offers)

    # --- groups ---------------------------------------------------------------------------------

    def _rivals(self, wish: Wish) -> Rivals | None:
        """Who must go because of groups. None: somebody who will not go stands in the way."""
        newcomer = wish.model.id
        promised = [claim.wish.model.id for claim in self.accepted]
        if not self._groups.admit(newcomer, promised):
            return None
        spared = set() if wish.paused else set(self._pinned)
        rivals = [r for r in self._staying if self._groups.exclude(newcomer, self._id(r))]
        others = [r for r in self._staying if r not in rivals]
        crowds = self._groups.crowds(newcomer, [*promised, *map(self._id, others)])
        for models, excess in crowds:
            members = [r for r in others if self._id(r) in models and r not in spared]
            if excess > len(members):
                return None
            members.sort(key=lambda r: (r not in rivals, reluctance(r, self._rules.worth)))
            rivals += [r for r in members[:excess] if r not in rivals]
        if spared.intersection(rivals):
            return None
        rest = [self._id(r) for r in (*self._staying, *self._leaving) if r not in rivals]
        return Rivals(tuple(rivals), not self._groups.admit(newcomer, [*promised, *rest]))

    def _is_excluded(self, wish: Wish) -> bool:
        return not self._groups.admit(wish.model.id, map(self._id, self._pinned))

    def _id(self, resident: Resident) -> str:
        return self._models[resident.model].id

    def _beside_pinned(self, room: Room) -> int:
        """Bytes on each device of a place that pinned models leave over."""
        taken = gain_of(*self._pinned)
        return min(space.budget - taken[space.device] for space in room.spaces)
