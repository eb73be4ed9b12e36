"""Random histories for the pool, and the world in which its policy is walked through them.

A history is a list of `Op`s: what happens, and a number in 0..1 that picks whom it happens to among
those it can happen to. So one history can be played to the bare policy (`World` below) and to the
real pool with a fake engine (`test_pool_walk.py`).
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from engine.api import Device, ModelCard
from gateway.pool.actions import Action, CancelLoad, CannotFit, Evict, Grant, Load, Reject
from gateway.pool.limits import PoolLimits
from gateway.pool.policy import Policy
from gateway.pool.state import Phase
from tests.gateway.fakes import make_card

Picked = TypeVar("Picked")

WEIGHTS = {
    "request": 30,
    "release": 20,
    "finish_load": 14,
    "finish_eviction": 14,
    "advance": 12,
    "cancel": 8,
    "fail_load": 3,
    "lose": 1,
    "restore": 4,
}


@dataclass(frozen=True)
class Op:
    kind: str
    pick: float

    def choose(self, candidates: Sequence[Picked]) -> Picked | None:
        return candidates[int(self.pick * len(candidates))] if candidates else None


@dataclass(frozen=True)
class History:
    limits: PoolLimits
    devices: tuple[Device, ...]
    cards: dict[str, ModelCard]
    ops: list[Op]


def make_history(seed: int, num_ops: int) -> History:
    """One or two devices, two to six models, one of which may fit nowhere.

    In every other history a request waits for ever, so that only being served can end its wait.
    """
    rng = random.Random(seed)
    timeout = 40.0 if seed % 2 else 1e9
    limits = PoolLimits(wait_timeout_seconds=timeout, max_waiting=12, max_waiting_per_model=5)
    budgets = [rng.choice((100, 150)) for _ in range(rng.choice((1, 1, 2)))]
    devices = tuple(Device(f"cpu{place}", budget) for place, budget in enumerate(budgets))
    sizes = [rng.choice((10, 30, 40, 60, 100, 100, 150, 200)) for _ in range(rng.randint(2, 6))]
    named = zip("abcdef", sizes, strict=False)
    cards = {name: make_card(name, weights_bytes=size) for name, size in named}
    kinds = rng.choices(list(WEIGHTS), list(WEIGHTS.values()), k=num_ops)
    return History(limits, devices, cards, [Op(kind, rng.random()) for kind in kinds])


@dataclass
class World:
    """Plays a history to a policy, keeps its own books, and checks them after every event."""

    history: History
    now: float = 0.0
    requests: int = 0
    waiting: dict[int, str] = field(default_factory=dict)
    granted: dict[int, Grant] = field(default_factory=dict)
    rejected: dict[int, Reject] = field(default_factory=dict)
    present: dict[int, Load] = field(default_factory=dict)  # until it is confirmed gone
    loading: list[int] = field(default_factory=list)
    evicting: list[int] = field(default_factory=list)
    down: set[str] = field(default_factory=set)
    last_handle: int = 0

    def __post_init__(self) -> None:
        self.policy = Policy(self.history.devices, self.history.limits)

    # --- what happens ---------------------------------------------------------------------------

    def play(self, op: Op) -> None:
        getattr(self, op.kind)(op)
        self.check()

    def request(self, op: Op) -> None:
        key = op.choose(sorted(self.history.cards))
        self.requests += 1
        self.waiting[self.requests] = key
        self._tell(self.policy.requested, self.requests, key, self.history.cards[key])

    def cancel(self, op: Op) -> None:
        if request := op.choose(sorted(self.waiting)):
            del self.waiting[request]
            self._tell(self.policy.cancelled, request)

    def release(self, op: Op) -> None:
        if request := op.choose(sorted(self.granted)):
            del self.granted[request]
            self._tell(self.policy.released, request)

    def finish_load(self, op: Op) -> None:
        if handle := op.choose(self.loading):
            self.loading.remove(handle)
            self._tell(self.policy.loaded, handle)

    def fail_load(self, op: Op) -> None:
        if handle := op.choose(self.loading):
            self.loading.remove(handle)
            del self.present[handle]
            self._tell(self.policy.failed, handle, "bad_checkpoint", "scripted")

    def finish_eviction(self, op: Op) -> None:
        if handle := op.choose(self.evicting):
            self.evicting.remove(handle)
            del self.present[handle]
            self._tell(self.policy.evicted, handle)

    def lose(self, op: Op) -> None:
        device = op.choose([d.name for d in self.history.devices])
        self.down.add(device)
        gone = [h for h, load in self.present.items() if load.device == device]
        self.present = {h: load for h, load in self.present.items() if h not in gone}
        self.loading = [h for h in self.loading if h not in gone]
        self.evicting = [h for h in self.evicting if h not in gone]
        void = [r for r, grant in self.granted.items() if grant.handle in gone]
        self._tell(self.policy.worker_lost, device)
        for request in void:  # their holders hear of it later
            del self.granted[request]
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

    def finish(self) -> None:
        """Everything ends well, and nobody is left waiting."""
        for _ in range(200):
            if not (self.waiting or self.granted or self.loading or self.evicting):
                return
            for kind in ("restore", "finish_load", "finish_eviction", "release", "advance"):
                self.play(Op(kind, 0.4))
        raise AssertionError(f"still waiting: {self.waiting}")

    # --- what the policy answers ----------------------------------------------------------------

    def _tell(self, event: Callable[..., list[Action]], *arguments: Any) -> None:
        actions = event(*arguments, self.now)
        for action in actions:
            self._follow(action)
        self._check_evictions([action for action in actions if isinstance(action, Evict)])

    def _follow(self, action: Action) -> None:
        match action:
            case Load():
                self._check_load(action)
                self.present[action.handle] = action
                self.loading.append(action.handle)
                self.last_handle = action.handle
            case CancelLoad(handle):
                assert handle in self.loading
            case Evict(handle):
                assert handle in self.present
                assert handle not in {*self.loading, *self.evicting}
                assert handle not in self._leased_handles(), "a busy model is never evicted (2)"
                self.evicting.append(handle)
            case Grant(request, model, handle):
                assert self.waiting.pop(request) == model
                assert self.present[handle].model == model
                assert handle not in {*self.loading, *self.evicting}, "a stale grant (9)"
                self.granted[request] = action
            case Reject(request):
                del self.waiting[request]
                self.rejected[request] = action
                self._check_reject(action)

    # --- invariants -----------------------------------------------------------------------------

    def check(self) -> None:
        self._check_books()
        for model in self.policy.models.values():
            resident = model.resident
            if resident and resident.phase is Phase.LOADING:
                assert model.waiters, "a load that nobody waits for goes on (5)"
            if resident and resident.phase is Phase.READY:
                assert not model.waiters, "a request waits for a model that is ready and open"
        for request in self.waiting:
            assert any(request in model.waiters for model in self.policy.models.values())

    def _check_books(self) -> None:
        for device in self.history.devices:
            held = sum(load.bytes for load in self.present.values() if load.device == device.name)
            assert held <= device.memory_bytes, "over-committed (1)"
            assert held == self.policy.ledger.held(device.name), "the ledger is wrong (1)"

    def _check_load(self, load: Load) -> None:
        assert load.handle > self.last_handle, "a handle is used again (9)"
        assert load.device not in self.down
        assert load.model in self.waiting.values(), "a load that nobody waits for (5)"
        assert load.model not in {other.model for other in self.present.values()}, (
            "loaded twice (5)"
        )

    def _check_evictions(self, evictions: list[Evict]) -> None:
        """The room that they make, with what is free and coming, holds all the newcomers (6)."""
        for device in {eviction.device for eviction in evictions}:
            newcomers = {e.makes_room_for for e in evictions if e.device == device}
            needed = sum(self.policy.models[key].fit.placement.bytes for key in newcomers)
            leaving = sum(
                resident.placement.bytes
                for resident in self.policy.residents.values()
                if resident.device == device and resident.is_leaving
            )
            assert needed <= self.policy.ledger.free(device) + leaving, "evicted in vain (6)"
            assert newcomers <= set(self.waiting.values())

    def _check_reject(self, reject: Reject) -> None:
        largest = max(device.memory_bytes for device in self.history.devices)
        is_too_large = self.history.cards[reject.model].footprints[0].weights_bytes > largest
        assert isinstance(reject.reason, CannotFit) == is_too_large, "refused at once (6)"

    def _leased_handles(self) -> set[int]:
        return {grant.handle for grant in self.granted.values()}
