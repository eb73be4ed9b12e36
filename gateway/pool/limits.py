from dataclasses import dataclass
from typing import Literal

from gateway.pool.place import Place


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """What the operator may set.

    max_wait_seconds: how long a cold model waits before busy ones are paused, or else closed, for it.
    wait_timeout_seconds: how long a request waits for its model in all before it is refused.
    max_waiting, max_waiting_per_model: requests that may wait; more are refused at once.
    max_context: no model is given a longer context than this.
    max_crashes: lost workers in a row that a model may be part of before it is refused.
    max_backoff_seconds: the longest that a model which keeps failing is refused without a try.
    pausing: whether a busy model is paused; else it is closed, and its requests run to their end.
    drain_seconds: how long before it is paused a model is closed, so that short requests just end.
    min_dwell_seconds: how long a busy model is left alone once it was made ready.
    dwell_factor: how long any model is left alone, in times of what making it ready took.
    priority_seconds: waiting that a level of priority stands for; None for `max_wait_seconds`.
    victims: who makes room: the least recently used, or who is cheapest to bring back.
    tensor_parallel: groups of devices that may hold a model together.
    """

    max_wait_seconds: float = 2.0
    wait_timeout_seconds: float = 300.0
    max_waiting: int = 1024
    max_waiting_per_model: int = 256
    max_context: int | None = None
    max_crashes: int = 3
    max_backoff_seconds: float = 60.0
    pausing: bool = True
    drain_seconds: float = 1.0
    min_dwell_seconds: float = 0.5
    dwell_factor: float = 1.5
    priority_seconds: float | None = None
    victims: Literal["lru", "cost"] = "lru"
    tensor_parallel: tuple[Place, ...] = ()
