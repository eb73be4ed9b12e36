from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms a model is kept.

    pinned: it is never evicted, neither for room nor by time.
    keep_alive_seconds: how long after its last use it is evicted; None: when room is needed.
    priority: each level counts as so much waiting already done (`PoolLimits.priority_seconds`).
    devices: where it may go; empty for anywhere.
    tensor_parallel: over how many devices it is spread; None: over the fewest that hold it.
    max_context: the longest it is given, instead of `PoolLimits.max_context`.
    """

    pinned: bool = False
    keep_alive_seconds: float | None = None
    priority: int = 0
    devices: tuple[str, ...] = ()
    tensor_parallel: int | None = None
    max_context: int | None = None


DEFAULT_TERMS = Terms()


def keep_alive_of(seconds: float) -> float | None:
    """Ollama's meaning: 0 unloads as soon as the model is idle, anything negative never does."""
    return None if seconds < 0 or seconds == float("inf") else seconds
