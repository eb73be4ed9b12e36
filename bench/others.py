"""CPU time that processes outside of a benchmark take while it measures."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil


@dataclass
class Others:
    """cpus: how many CPUs they kept busy, on average; what a hypervisor took counts as well."""

    cpus: float = 0.0


@contextmanager
def watched() -> Iterator[Others]:
    """Watches for as long as the context lasts: a second at least, as CPU time comes in ticks."""
    found = Others()
    began, busy, own = time.perf_counter(), _busy_seconds(), _own_seconds()
    yield found
    foreign = (_busy_seconds() - busy) - (_own_seconds() - own)
    found.cpus = max(0.0, foreign / (time.perf_counter() - began))


def _busy_seconds() -> float:
    """Of all CPUs together."""
    times = psutil.cpu_times()
    # Linux counts the time of guests in that of users, too.
    return float(sum(times) - times.idle - sum(getattr(times, name, 0.0) for name in _NOT_BUSY))


_NOT_BUSY = ("iowait", "guest", "guest_nice")


def _own_seconds() -> float:
    """Of this process and all below it, those that have ended included."""
    this = psutil.Process()
    return sum(map(_seconds_of, (this, *this.children(recursive=True))))


def _seconds_of(process: psutil.Process) -> float:
    try:
        return float(sum(process.cpu_times()[:4]))  # its own, and its ended children's
    except psutil.NoSuchProcess:
        return 0.0
