"""Who was not let in, and why."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter

from gateway.keys import Key


def count_refused(
    registry: CollectorRegistry, *, by_key: bool
) -> Callable[[str, Key | None], None]:
    """Counts requests that a key did not open the door for. by_key: by the names of known keys too."""
    labels = ("reason", "key") if by_key else ("reason",)
    refused = Counter(
        "roundhouse_keys_refused",
        "Requests that were not let in by their keys, or let in no further, by why.",
        labels,
        registry=registry,
    )

    def count(reason: str, key: Key | None) -> None:
        names = (key.name if key else "",) if by_key else ()
        refused.labels(reason, *names).inc()

    return count
