from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """What the operator may set.

    max_wait_seconds: how long a cold model waits before busy ones are closed to make room for it.
    wait_timeout_seconds: how long a request waits for its model in all before it is refused.
    max_waiting, max_waiting_per_model: requests that may wait; more are refused at once.
    max_context: no model is given a longer context than this.
    max_crashes: lost workers in a row that a model may be part of before it is refused.
    max_backoff_seconds: the longest that a model which keeps failing is refused without a try.
    """

    max_wait_seconds: float = 2.0
    wait_timeout_seconds: float = 300.0
    max_waiting: int = 1024
    max_waiting_per_model: int = 256
    max_context: int | None = None
    max_crashes: int = 3
    max_backoff_seconds: float = 60.0
