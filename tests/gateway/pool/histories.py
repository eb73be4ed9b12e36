"""Random histories for the pool: what happens, to whom, under which limits, terms and groups.

A history is a list of `Op`s: what happens, and a number in 0..1 that picks whom it happens to among
those it can happen to. So one history can be played to the bare policy (`world.py`) and to the real
pool with a fake engine (`test_pool_walk.py`).
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from engine.api import Device, ModelCard
from gateway.pool.groups import Group
from gateway.pool.limits import PoolLimits
from gateway.pool.place import Place
from gateway.pool.terms import Terms
from tests.gateway.fakes import make_card

Picked = TypeVar("Picked")

WEIGHTS = {
    "request": 30,
    "release": 18,
    "finish_load": 14,
    "finish_eviction": 12,
    "finish_pause": 10,
    "advance": 14,
    "cancel": 8,
    "fail_load": 3,
    "jump": 1,
    "pin": 1,
    "unload": 1,
    "lose": 1,
    "restore": 4,
}


@dataclass(frozen=True)
class Op:
    kind: str
    pick: float

    @property
    def also(self) -> float:
        """Another number in 0..1, for what else has to be picked."""
        return self.pick * 997 % 1

    def choose(self, candidates: Sequence[Picked]) -> Picked | None:
        return candidates[int(self.pick * len(candidates))] if candidates else None


@dataclass(frozen=True)
class History:
    limits: PoolLimits
    devices: tuple[Device, ...]
    cards: dict[str, ModelCard]
    ops: list[Op]
    terms: dict[str, Terms] = field(default_factory=dict)
    groups: tuple[Group, ...] = ()


def make_history(seed: int, num_ops: int) -> History:
    """One to four devices, two to six models, some of which may fit nowhere.

    Two devices or three of them may hold a model together that is too large for each.
    In every other history a request waits for ever, so that only being served can end its wait.
    """
    rng = random.Random(seed)
    timeout = 40.0 if seed % 2 else 1e9
    budgets = [rng.choice((100, 150)) for _ in range(rng.choice((1, 1, 2, 2, 3, 4)))]
    devices = tuple(Device(f"cpu{place}", budget) for place, budget in enumerate(budgets))
    limits = PoolLimits(
        wait_timeout_seconds=timeout,
        max_waiting=12,
        max_waiting_per_model=5,
        pausing=rng.random() < 0.8,
        drain_seconds=rng.choice((0.0, 1.0, 5.0)),
        victims=rng.choice(("lru", "cost")),
        tensor_parallel=_spreads(rng, [device.name for device in devices]),
    )
    sizes = [
        rng.choice((10, 30, 40, 60, 100, 100, 150, 200, 270)) for _ in range(rng.randint(2, 6))
    ]
    named = zip("abcdef", sizes, strict=False)
    cards = {name: make_card(name, weights_bytes=size) for name, size in named}
    kinds = rng.choices(list(WEIGHTS), list(WEIGHTS.values()), k=num_ops)
    ops = [Op(kind, rng.random()) for kind in kinds]
    terms = {name: _terms(rng, limits.tensor_parallel) for name in cards}
    return History(limits, devices, cards, ops, terms, _groups(rng, list(cards)))


def _spreads(rng: random.Random, names: list[str]) -> tuple[Place, ...]:
    """Groups of two and three devices; some share a device, as a pair and a trio may."""
    sizes = [size for size in (2, 2, 3) if size <= len(names) and rng.random() < 0.6]
    return tuple(tuple(rng.sample(names, size)) for size in sizes)


def _terms(rng: random.Random, spreads: tuple[Place, ...]) -> Terms:
    return Terms(
        pinned=rng.random() < 0.05,
        keep_alive_seconds=rng.choice((None, None, None, 0.0, 5.0)),
        priority=rng.choice((0, 0, 0, 1, -1)),
        tensor_parallel=len(rng.choice(spreads)) if spreads and rng.random() < 0.2 else None,
    )


def _groups(rng: random.Random, names: list[str]) -> tuple[Group, ...]:
    groups = []
    if rng.random() < 0.25:
        groups.append(Group("few", frozenset(rng.sample(names, 2)), at_most=1))
    if rng.random() < 0.15:
        groups.append(Group("alone", frozenset(rng.sample(names, 1)), is_alone=True))
    return tuple(groups)
