"""The world in which a policy is walked through a history: it keeps its own books and checks them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gateway.pool.actions import (
    Action,
    CancelLoad,
    CannotFit,
    Evict,
    Grant,
    Load,
    OnlyPinnedLeft,
    Pause,
    Reject,
    Revoke,
)
from gateway.pool.place import Place
from gateway.pool.policy import Policy
from gateway.pool.state import Phase
from tests.gateway.pool.histories import History, Op


@dataclass
class World:
    """Plays a history to a policy, and checks the invariants after every event."""

    history: History
    now: float = 0.0
    requests: int = 0
    waiting: dict[int, str] = field(default_factory=dict)
    granted: dict[int, Grant] = field(default_factory=dict)
    revoked: set[int] = field(default_factory=set)
    rejected: dict[int, Reject] = field(default_factory=dict)
    orders: dict[int, Load] = field(default_factory=dict)  # until it is confirmed gone
    places: dict[int, Place] = field(default_factory=dict)  # less what is lost of them
    held: dict[int, int] = field(default_factory=dict)  # on each device, until confirmed free
    loading: list[int] = field(default_factory=list)
    pausing: list[int] = field(default_factory=list)
    paused: list[int] = field(default_factory=list)
    evicting: list[int] = field(default_factory=list)
    usable_since: dict[int, float] = field(default_factory=dict)
    down: set[str] = field(default_factory=set)
    last_handle: int = 0
    counts: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        history = self.history
        self.policy = Policy(history.devices, history.limits, history.groups)

    # --- what happens ---------------------------------------------------------------------------

    def play(self, op: Op) -> None:
        getattr(self, op.kind)(op)
        self.check()

    def request(self, op: Op) -> None:
        key = op.choose(sorted(self.history.cards))
        self.requests += 1
        self.waiting[self.requests] = key
        keep_alive = (None, None, None, None, 0.0, 3.0, -1.0)[int(op.also * 7)]
        self._tell(
            lambda now: self.policy.requested(
                self.requests,
                key,
                self.history.cards[key],
                now,
                terms=self.history.terms[key],
                keep_alive=keep_alive,
                priority=int(op.also * 10 % 2),
            )
        )

    def cancel(self, op: Op) -> None:
        if request := op.choose(sorted(self.waiting)):
            del self.waiting[request]
            self._tell(self.policy.cancelled, request)

    def release(self, op: Op) -> None:
        if request := op.choose(sorted(self.granted)):
            del self.granted[request]
            self._tell(self.policy.released, request)

    def finish_load(self, op: Op) -> None:
        """One load in ten takes more than was planned, or less."""
        if handle := op.choose(self.loading):
            self.loading.remove(handle)
            self.usable_since[handle] = self.now
            used = self.held[handle] + (int(op.also * 100) - 5 if op.also < 0.1 else 0)
            self.held[handle] = used
            self._tell(lambda now: self.policy.loaded(handle, now, used_bytes=used))

    def fail_load(self, op: Op) -> None:
        if handle := op.choose(self.loading):
            self.loading.remove(handle)
            del self.held[handle]
            if self.orders[handle].resumes:
                self.paused.append(handle)
            else:
                del self.orders[handle]
            self._tell(self.policy.failed, handle, "bad_checkpoint", "scripted")

    def finish_pause(self, op: Op) -> None:
        if handle := op.choose(self.pausing):
            self.pausing.remove(handle)
            self.paused.append(handle)
            del self.held[handle]
            self._tell(self.policy.paused, handle)

    def finish_eviction(self, op: Op) -> None:
        if handle := op.choose(self.evicting):
            self.evicting.remove(handle)
            del self.orders[handle]
            self.held.pop(handle, None)
            self._tell(self.policy.evicted, handle)

    def lose(self, op: Op) -> None:
        device = op.choose([d.name for d in self.history.devices])
        self.down.add(device)
        gone = {handle for handle in self.orders if device in self.places[handle]}
        for handle in gone:
            self.places[handle] = tuple(name for name in self.places[handle] if name != device)
            if not self.places[handle]:
                del self.orders[handle]
                self.held.pop(handle, None)
            for motion in (self.loading, self.pausing, self.paused, self.evicting):
                if handle in motion:
                    motion.remove(handle)
        void = [r for r, grant in self.granted.items() if grant.handle in gone]
        for request in void:
            del self.granted[request]
        self._tell(self.policy.worker_lost, device)
        for request in void:  # their holders hear of it later
            self._tell(self.policy.released, request)

    def restore(self, op: Op) -> None:
        if device := op.choose(sorted(self.down)):
            self.down.remove(device)
            self._tell(self.policy.device_ready, device)

    def advance(self, op: Op) -> None:
        """To the next deadline or by up to five seconds, whichever the pick says."""
        deadline = self.policy.next_deadline(self.now)
        is_due_soon = deadline is not None and deadline < self.now + 50
        self.now = deadline if is_due_soon and op.pick >= 0.5 else self.now + 5 * op.pick
        self._tell(self.policy.ticked)

    def jump(self, op: Op) -> None:
        """The machine was suspended."""
        self.now += 1000 * op.pick
        self._tell(self.policy.ticked)

    def pin(self, op: Op) -> None:
        key = op.choose(sorted(self.history.cards))
        self._tell(self.policy.pinned, key, op.also < 0.3)

    def unload(self, op: Op) -> None:
        key = op.choose(sorted(self.history.cards))
        self._tell(self.policy.unload_requested, key, op.also < 0.5)

    def finish(self) -> None:
        """Everything ends well, and nobody is left waiting."""
        for _ in range(300):
            if not (self.waiting or self.granted or self._in_motion() or self.paused):
                return
            for kind in (
                "restore",
                "finish_load",
                "finish_pause",
                "finish_eviction",
                "release",
                "advance",
            ):
                self.play(Op(kind, 0.4))
        raise AssertionError(f"still waiting: {self.waiting}, still paused: {self.paused}")

    # --- what the policy answers ----------------------------------------------------------------

    def _tell(self, event: Callable[..., list[Action]], *arguments: Any) -> None:
        actions = event(*arguments, self.now)
        for action in actions:
            self.counts[type(action).__name__] = self.counts.get(type(action).__name__, 0) + 1
            self._follow(action)
        self._check_room([action for action in actions if isinstance(action, Evict | Pause)])

    def _follow(self, action: Action) -> None:
        match action:
            case Load():
                self._check_load(action)
                self.orders[action.handle] = action
                self.places[action.handle] = action.place
                self.held[action.handle] = action.bytes
                self.loading.append(action.handle)
                self.last_handle = max(action.handle, self.last_handle)
            case CancelLoad(handle):
                assert handle in self.loading
            case Evict():
                self._check_evict(action)
                if action.handle in self.paused:
                    self.paused.remove(action.handle)
                self.evicting.append(action.handle)
            case Pause(handle):
                assert self.history.limits.pausing
                assert handle in self._leased_handles(), "what is idle is evicted, not paused"
                assert handle not in {*self._in_motion(), *self.paused}
                self._check_dwell(handle)
                self.pausing.append(handle)
            case Grant(request, model, handle):
                assert self.waiting.pop(request) == model
                assert self.orders[handle].model == model
                assert handle not in {*self._in_motion(), *self.paused}, "a stale grant (9)"
                self.granted[request] = action
            case Revoke(handle, _, requests):
                assert {self.granted[request].handle for request in requests} == {handle}
                assert not self.revoked.intersection(requests)
                self.revoked.update(requests)
            case Reject(request):
                del self.waiting[request]
                self.rejected[request] = action
                self._check_reject(action)

    def _in_motion(self) -> list[int]:
        return [*self.loading, *self.pausing, *self.evicting]

    # --- invariants -----------------------------------------------------------------------------

    def check(self) -> None:
        self._check_books()
        for model in self.policy.models.values():
            resident = model.resident
            if resident and resident.phase is Phase.LOADING:
                assert model.waiters or resident.leases, "a load that nobody waits for goes on (5)"
            if resident and resident.phase is Phase.READY:
                assert not model.waiters, "a request waits for a model that is ready and open"
            if resident and resident.phase is Phase.PAUSED:
                assert resident.leases, "what nobody uses stays paused"
        for request in self.waiting:
            assert any(request in model.waiters for model in self.policy.models.values())

    def _check_books(self) -> None:
        for device in self.history.devices:
            here = [h for h in self.orders if device.name in self.places[h]]
            held = sum(self.held.get(handle, 0) for handle in here)
            assert held == self.policy.ledger.held(device.name), "the ledger is wrong (1)"

    def _check_load(self, load: Load) -> None:
        for device in self.history.devices:
            if device.name in load.place:
                held = sum(self.held[h] for h in self.held if device.name in self.places[h])
                assert held + load.bytes <= device.memory_bytes, "over-committed (1)"
        assert self.down.isdisjoint(load.place)
        self._check_spread(load)
        if load.resumes:
            self.paused.remove(load.handle)
            assert self.orders[load.handle].place == load.place
            assert load.handle in self._leased_handles()
        else:
            assert load.handle > self.last_handle, "a handle is used again (9)"
            assert load.model in self.waiting.values(), "a load that nobody waits for (5)"
            present = {other.model for other in self.orders.values()}
            assert load.model not in present, "loaded twice (5)"
        self._check_groups(load.model)

    def _check_spread(self, load: Load) -> None:
        """A group is only for what fits on no device by itself, or is told to be on several."""
        terms = self.history.terms[load.model]
        weights = self.history.cards[load.model].footprints[0].weights_bytes
        if len(load.place) > 1:
            assert load.place in self.history.limits.tensor_parallel
            assert terms.tensor_parallel == len(load.place) or weights > self._largest()
        else:
            assert terms.tensor_parallel in {None, 1}

    def _check_groups(self, newcomer: str) -> None:
        present = {self.orders[handle].model for handle in self.held} | {newcomer}
        for group in self.history.groups:
            if group.at_most is not None:
                assert len(present & group.models) <= group.at_most or newcomer not in group.models
            if group.is_alone and present & group.models:
                assert present <= group.models, "not alone"

    def _check_evict(self, evict: Evict) -> None:
        handle = evict.handle
        assert handle in self.orders
        assert handle not in self._in_motion()
        assert handle not in self._leased_handles(), "a busy model is never evicted (2)"
        terms = self.policy.models[evict.model].terms
        if evict.reason == "expired":
            assert not terms.pinned
        if evict.reason == "room" and terms.pinned:
            newcomer = self.policy.models[evict.makes_room_for].resident
            assert newcomer is not None, "a pinned model makes room for a paused one alone (7)"

    def _check_dwell(self, handle: int) -> None:
        """Pausing starts a turn of the newcomer: the one before had its own (4)."""
        limits, resident = self.history.limits, self.policy.residents[handle]
        dwell = min(limits.min_dwell_seconds, limits.max_wait_seconds)
        is_late = any(
            waiter.rank < resident.claimed_since
            for model in self.policy.models.values()
            for waiter in model.waiters.values()
        )
        is_late |= any(
            other.paused_at is not None and other.paused_at < resident.claimed_since
            for other in self.policy.residents.values()
        )
        assert is_late or self.now >= self.usable_since[handle] + dwell

    def _check_room(self, leaving: list[Evict | Pause]) -> None:
        """The room that they make, with what is free and coming, holds all the newcomers (6)."""
        for_room = [a for a in leaving if isinstance(a, Pause) or a.reason == "room"]
        newcomers = {action.makes_room_for for action in for_room}
        for key in newcomers:
            model = self.policy.models[key]
            assert key in self.waiting.values() or model.resident, "for somebody who left"
            places = (model.resident.place,) if model.resident else model.fit.places
            assert any(self._will_hold(place, key) for place in places), "evicted in vain (6)"
        if len(self.history.devices) > 1 or not newcomers:
            return
        (device,) = self.history.devices
        coming = sum(r.bytes for r in self.policy.residents.values() if r.is_leaving)
        needed = sum(self._needed(key, device.memory_bytes) for key in newcomers)
        assert needed <= self.policy.ledger.free(device.name) + coming, "evicted in vain (6)"

    def _will_hold(self, place: Place, key: str) -> bool:
        """Whether all of a place will have the room, once what leaves has left."""
        devices = [device for device in self.history.devices if device.name in place]
        needed = self._needed(key, min(device.memory_bytes for device in devices))
        leaving = [r for r in self.policy.residents.values() if r.is_leaving]
        return all(
            needed
            <= self.policy.ledger.free(device.name)
            + sum(r.bytes for r in leaving if device.name in r.place)
            for device in devices
        )

    def _needed(self, key: str, budget: int) -> int:
        model = self.policy.models[key]
        needed = model.resident.needed if model.resident else model.planned_bytes
        return min(needed, budget)

    def _check_reject(self, reject: Reject) -> None:
        is_too_large = not any(self._fits(reject.model, place) for place in self._places(reject))
        assert isinstance(reject.reason, CannotFit) == is_too_large, "refused at once (6)"
        if isinstance(reject.reason, OnlyPinnedLeft):
            assert any(model.terms.pinned for model in self.policy.models.values())

    def _places(self, reject: Reject) -> list[Place]:
        size = self.history.terms[reject.model].tensor_parallel
        places = [(device.name,) for device in self.history.devices]
        places += self.history.limits.tensor_parallel
        return [place for place in places if size in {None, len(place)}]

    def _fits(self, key: str, place: Place) -> bool:
        weights = self.history.cards[key].footprints[0].weights_bytes
        budgets = [d.memory_bytes for d in self.history.devices if d.name in place]
        return weights <= len(place) * min(budgets)

    def _largest(self) -> int:
        return max(device.memory_bytes for device in self.history.devices)

    def _leased_handles(self) -> set[int]:
        return {grant.handle for grant in self.granted.values()}
