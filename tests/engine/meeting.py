"""Ranks of one group as threads of one process, in place of processes and torch.distributed."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from engine.api import Form
from engine.checkpoint import open_checkpoint
from engine.kernels.group import Group
from engine.models.shards import Shard
from engine.nn.decoder import CausalLM
from engine.nn.module import join
from engine.residency.loader import load

T = TypeVar("T")

SECONDS = 60.0


class Meeting:
    """So many ranks, whose sums are added up in their order."""

    def __init__(self, size: int) -> None:
        self._given: list[Tensor] = [torch.empty(0)] * size
        self._barrier = threading.Barrier(size)

    def group(self, rank: int) -> Group:
        def total(x: Tensor) -> Tensor:
            self._given[rank] = x
            self._barrier.wait(SECONDS)
            added = torch.stack(self._given).float().sum(0).to(x.dtype)
            self._barrier.wait(SECONDS)
            return added

        return Group(total)

    def together(self, does: Sequence[Callable[[], T]]) -> list[T]:
        """What each rank makes, all at once."""

        def one(do: Callable[[], T]) -> T:
            try:
                with torch.inference_mode():
                    return do()
            except BaseException:
                self._barrier.abort()
                raise

        with ThreadPoolExecutor(len(does)) as threads:
            return list(threads.map(one, does))


def parts(path: Path, form: Form, size: int) -> tuple[Meeting, list[CausalLM]]:
    """Loaded in float32, and joined."""
    meeting, models = Meeting(size), []
    with open_checkpoint(path) as checkpoint:
        for rank in range(size):
            shard = Shard(rank, size)
            models.append(
                load(checkpoint, form, torch.float32, lambda _: None, lambda: False, shard=shard)
            )
            join(models[rank], meeting.group(rank))
    return meeting, models
