"""What processes took of the CPU, thread by thread. Linux."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

_ROLES = {"gateway": "gateway", "engine.text": "text", "engine.worker": "worker"}


@dataclass(frozen=True, order=True)
class Thread:
    """process: gateway, text or worker. name: main, or the thread's own and its number."""

    process: str
    name: str


CpuTimes = Mapping[Thread, float]


def cpu_seconds(root: psutil.Process) -> CpuTimes:
    """Of every thread of a gateway and its engine so far, to the nanosecond."""
    times: dict[Thread, float] = {}
    for process in [root, *root.children(recursive=True)]:
        role = _role(process)
        for name, seconds in _threads_of(process.pid):
            times[Thread(role, name)] = seconds
    return times


def process_seconds(pid: int) -> float:
    """Of one process, all threads of it that still run."""
    return sum(seconds for _, seconds in _threads_of(pid))


def _threads_of(pid: int) -> Iterator[tuple[str, float]]:
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            nanoseconds = int((task / "schedstat").read_text().split()[0])
            own = (task / "comm").read_text().strip()
        except FileNotFoundError:  # it has just ended
            continue
        yield "main" if int(task.name) == pid else f"{own} {task.name}", nanoseconds / 1e9


def taken(before: CpuTimes, after: CpuTimes) -> dict[Thread, float]:
    """Seconds between two readings, without threads that took none."""
    spent = {thread: now - before.get(thread, 0.0) for thread, now in after.items()}
    return {thread: seconds for thread, seconds in sorted(spent.items()) if seconds > 0}


def _role(process: psutil.Process) -> str:
    words = process.cmdline()
    module = words[words.index("-m") + 1] if "-m" in words else process.name()
    return _ROLES.get(module, str(module))
