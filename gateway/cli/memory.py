"""How much memory models may take where nobody said."""

import os
from pathlib import Path

from gateway.units import Bytes

SHARE = 0.6  # the rest is for the processes themselves, the page cache and everybody else

_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


def default_budget() -> Bytes:
    """A share of this machine's memory, or of the container's where that is less."""
    return Bytes(min(_physical_bytes(), _container_bytes(_CGROUP_LIMIT)) * SHARE)


def _physical_bytes() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _container_bytes(limit: Path) -> float:
    """Infinite outside a container, and where its limit cannot be read."""
    try:
        return int(limit.read_text())
    except (OSError, ValueError):  # "max" means none
        return float("inf")
