"""What processes took of the CPU, thread by thread. Linux."""

from collections.abc import Mapping
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
        for task in Path(f"/proc/{process.pid}/task").iterdir():
            try:
                nanoseconds = int((task / "schedstat").read_text().split()[0])
                own = (task / "comm").read_text().strip()
            except FileNotFoundError:  # it has just ended
                continue
            name = "main" if int(task.name) == process.pid else f"{own} {task.name}"
            times[Thread(_role(process), name)] = nanoseconds / 1e9
    return times


def taken(before: CpuTimes, after: CpuTimes) -> dict[Thread, float]:
    """Seconds between two readings, without threads that took none."""
    spent = {thread: now - before.get(thread, 0.0) for thread, now in after.items()}
    return {thread: seconds for thread, seconds in sorted(spent.items()) if seconds > 0}


def _role(process: psutil.Process) -> str:
    words = process.cmdline()
    module = words[words.index("-m") + 1] if "-m" in words else process.name()
    return _ROLES.get(module, str(module))
