"""The machine while it is measured: its memory's bandwidth, its load, and a foreign process."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager as Context
from contextlib import contextmanager, nullcontext

_BUFFER_BYTES = 2**30
_PASSES = 6


def read_bandwidth() -> float:
    """Bytes per second that all cores together read, measured in a process of its own.

    The best of a few passes over a buffer that no cache holds.
    """
    command = [sys.executable, __file__]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def load_average() -> float:
    """Over the last minute: what is measured counts in it as well."""
    return os.getloadavg()[0]


@contextmanager
def busy_process() -> Iterator[None]:
    """A process that never rests, for as long as the context lasts."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        try:
            yield
        finally:
            process.kill()


def neighbours(*, is_busy: bool) -> Context[None]:
    return busy_process() if is_busy else nullcontext()


def _measure() -> float:
    import torch

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    buffer = torch.ones(_BUFFER_BYTES // 4)
    buffer.sum()
    best = 0.0
    for _ in range(_PASSES):
        began = time.perf_counter()
        buffer.sum()
        best = max(best, buffer.nbytes / (time.perf_counter() - began))
    return best


if __name__ == "__main__":
    print(_measure())
