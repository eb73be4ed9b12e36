"""How much memory the machine, or the container, has for others."""

import os
import re
from pathlib import Path

from engine.residency.warm import WarmBudget

FILE_SHARE = 2
"""By default, warm images of files take up to a half of what is available when a worker starts:
their pages are clean, and the system takes them back as it needs them."""

MEMORY_SHARE = 4
"""And those in memory alone up to a quarter: nothing but their owner can let go of them."""

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")


def warm_budget(warm_bytes: int | None, shares: int = 1) -> WarmBudget:
    """As an operator says it, strictly; None: what is sensible on this machine.

    shares: how many processes there are that are to have as much.
    """
    if warm_bytes is not None:
        return WarmBudget(warm_bytes, warm_bytes)
    available = available_bytes() // shares
    return WarmBudget(available // FILE_SHARE, available // MEMORY_SHARE)


def available_bytes(meminfo: Path = _MEMINFO, cgroup: Path = _CGROUP) -> int:
    """What can be had without swapping: the machine's, or the container's where that is less."""
    return int(min(_machine_bytes(meminfo), _container_bytes(cgroup)))


def _machine_bytes(meminfo: Path) -> int:
    try:
        found = re.search(r"^MemAvailable:\s+(\d+) kB$", meminfo.read_text(), re.MULTILINE)
    except OSError:
        found = None
    if found is None:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    return int(found[1]) * 1024


def _container_bytes(cgroup: Path) -> float:
    """Its limit less what it takes; the pages of files count as free. Infinite without a limit."""
    try:
        limit = int((cgroup / "memory.max").read_text())
        taken = int((cgroup / "memory.current").read_text())
        statistics = dict(
            line.split() for line in (cgroup / "memory.stat").read_text().splitlines()
        )
    except (OSError, ValueError):  # "max" means none
        return float("inf")
    return max(0, limit - taken + int(statistics.get("inactive_file", 0)))
