"""Models of which this worker computes a part: as the first of several, or as another's follower."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import torch

from engine.cache.caches import Caches
from engine.core.led import Follower, LedModel
from engine.core.lines import Line, accept, connect, listen
from engine.core.ranks import Ranks
from engine.core.runner import LanguageModel
from engine.models.shards import Shard
from engine.wire import Seat

_SOCKET = "leader.sock"
_CPU = torch.device("cpu")


class Groups:
    """By handle. The event loop prepares, load threads join, and whoever lets go of a model ends."""

    def __init__(self, num_threads: int, device: torch.device = _CPU) -> None:
        self._num_threads, self._device = num_threads, device
        self._followers: dict[int, Follower] = {}
        self._ends: dict[int, Callable[[], None]] = {}

    def ranks_of(self, seat: Seat) -> Ranks:
        return Ranks(Path(seat.folder), Shard(seat.rank, seat.size), self._device)

    def prepare(self, handle: int, seat: Seat) -> None:
        """Before the load begins, on a thread whose priority the follower's is to have."""
        if seat.rank:
            self._followers[handle] = Follower(self._num_threads)

    def join(
        self,
        handle: int,
        ranks: Ranks,
        model: LanguageModel,
        caches: Caches,
        cancelled: Callable[[], bool],
    ) -> LanguageModel:
        """The model to run, once all parts are loaded: the leader's; a follower's runs by itself.

        Raises `LoadCancelled`, and what meeting raises.
        """
        if ranks.shard.rank:
            line = connect(ranks.folder / _SOCKET, ranks.shard.rank, cancelled)
            self._ends[handle] = line.close
            ranks.meet(cancelled)
            self._followers[handle].follow(model, caches.views, ranks, line)
            return model
        led = LedModel(model, ranks, self._lines(ranks, cancelled))
        self._ends[handle] = led.close
        ranks.meet(cancelled)
        return led

    def end(self, handle: int) -> None:
        """Nothing of this worker uses its part any more, if it has one. Any thread may call."""
        if end := self._ends.pop(handle, None):
            end()
        if follower := self._followers.pop(handle, None):
            follower.end()

    def _lines(self, ranks: Ranks, cancelled: Callable[[], bool]) -> list[Line]:
        path = ranks.folder / _SOCKET
        with contextlib.closing(listen(path, ranks.shard.size)) as server:
            return accept(server, ranks.shard.size - 1, cancelled)
