"""The collectives of a group of ranks, by torch.distributed: one process group per load, none global.

Ranks are processes of one host. They find each other in a folder that only their user may enter.
"""

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from engine.kernels.group import Group
from engine.models.shards import Shard
from engine.residency.loader import LoadCancelled

COLLECTIVE_SECONDS = 120.0
"""How long a rank waits for the others in the middle of a step, where they may be busy with another
model's step; one that is gone is noticed at once."""

_c10d: Any = dist  # torch declares nothing of what is needed here

_LOOPBACK = "127.0.0.1"
_POLL_SECONDS = 0.01


class LostTouchError(Exception):
    """A sum failed because of another rank, or of what lies between."""


class Ranks:
    """One rank's side of a group. `group` is what its part of the model is given.

    folder: the same for all. device: what the rank computes on.
    """

    def __init__(self, folder: Path, shard: Shard, device: torch.device) -> None:
        self.folder, self.shard, self.device = folder, shard, device
        self.group = Group()
        self.generation = 0
        self._lock = threading.Lock()
        self._collectives: Any = None

    def meet(self, cancelled: Callable[[], bool]) -> None:
        """Waits until all ranks are here, and sums from then on.

        Meeting again, once the last group was left, makes a new one: all ranks must do so. Raises
        `LoadCancelled`, and RuntimeError where ranks do not reach each other.
        """
        self.generation += 1
        store = _c10d.PrefixStore(str(self.generation), self._store())
        names = [f"here/{rank}" for rank in range(self.shard.size)]
        store.set(names[self.shard.rank], "")
        while not store.check(names):
            if cancelled():
                raise LoadCancelled
            time.sleep(_POLL_SECONDS)
        collectives = _collectives(store, self.shard, self.device)
        with self._lock:
            self._collectives = collectives
        self.group.sum = self._sum

    @property
    def are_together(self) -> bool:
        """They have met, and nobody here has left since."""
        return self._collectives is not None

    def leave(self, generation: int | None = None) -> None:
        """Ends the group, and with it what its ranks wait for. Any thread may call.

        generation: only if it is that one still.
        """
        with self._lock:
            if generation not in (None, self.generation):
                return
            collectives, self._collectives = self._collectives, None
        if collectives is not None:
            collectives.abort()

    def _store(self) -> Any:
        return _c10d.FileStore(str(self.folder / "store"), self.shard.size)

    def _sum(self, x: Tensor) -> Tensor:
        collectives = self._collectives
        if collectives is None:
            raise LostTouchError("the group has ended")
        total = x.to(_summed_in(x), copy=True).contiguous()
        try:
            collectives.allreduce([total]).wait()
        except RuntimeError as error:
            raise LostTouchError(str(error)) from error
        return total.to(x.dtype)


def _summed_in(x: Tensor) -> torch.dtype:
    """On a CPU exactly; on GPUs in what is sent, half as much."""
    return torch.float32 if x.device.type == "cpu" else x.dtype


def _collectives(store: Any, shard: Shard, device: torch.device) -> Any:
    timeout = timedelta(seconds=COLLECTIVE_SECONDS)
    if device.type == "cpu":
        kind = _c10d.ProcessGroupGloo
        options = kind._Options()  # noqa: SLF001  # torch's only way to say where
        options._devices = [kind.create_device(hostname=_LOOPBACK)]  # noqa: SLF001  # as above
    else:
        torch.cuda.set_device(device)
        kind = _c10d.ProcessGroupNCCL
        options = kind.Options()
    options._timeout = timeout  # noqa: SLF001  # as above
    return kind(store, shard.rank, shard.size, options)
