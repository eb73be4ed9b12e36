"""A device's caches while nothing runs on them: what they hold, in host memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from engine.cache.caches import Caches
from engine.cache.manager import CacheManager
from engine.cache.pages import Span
from engine.devices import Event
from engine.kernels.pages import zero_pages
from engine.residency.ring import PinnedRing


@dataclass(frozen=True, slots=True, eq=False)
class HostedCaches:
    """Who has which blocks and slots, and the bytes of those that mean something.

    rows: of each tensor, in the order of the views; uint8, gone with this.
    """

    manager: CacheManager
    rows: list[Tensor]

    @classmethod
    def of(cls, caches: Caches, ring: PinnedRing) -> Self:
        """Copies them. Blocks until that is done; nothing may run on the caches any more."""
        pairs = []
        rows = []
        for tensor, spans in caches.used_rows():
            room = zero_pages(_num_rows(spans) * _row_bytes(tensor))
            pairs += list(zip(_split(room, tensor, spans), _pieces(tensor, spans), strict=True))
            rows.append(room)
        ring.download(pairs)
        return cls(caches.manager, rows)

    def trim(self) -> int:
        """What they take."""
        return sum(tensor.nbytes for tensor in self.rows)

    def put_back(self, caches: Caches, ring: PinnedRing) -> tuple[Caches, Event]:
        """In the tensors of blank ones of the same kind and size, and when that will be done."""
        whole = Caches(caches.views, self.manager, caches.slab)
        pairs = [
            pair
            for (tensor, spans), room in zip(whole.used_rows(), self.rows, strict=True)
            for pair in zip(_pieces(tensor, spans), _split(room, tensor, spans), strict=True)
        ]
        return whole, ring.upload(pairs)


def hosted_bytes(caches: Caches) -> int:
    """What they would take."""
    return sum(_num_rows(spans) * _row_bytes(tensor) for tensor, spans in caches.used_rows())


def _num_rows(spans: list[Span]) -> int:
    return sum(last - first for first, last in spans)


def _row_bytes(tensor: Tensor) -> int:
    return tensor.nbytes // len(tensor) if len(tensor) else 0


def _pieces(tensor: Tensor, spans: list[Span]) -> Iterator[Tensor]:
    """The bytes of these rows on the device, a piece for each span."""
    for first, last in spans:
        yield tensor[first:last].view(-1).view(torch.uint8)


def _split(room: Tensor, tensor: Tensor, spans: list[Span]) -> tuple[Tensor, ...]:
    """Their room, one after the other."""
    sizes = [(last - first) * _row_bytes(tensor) for first, last in spans]
    return torch.split_with_sizes(room, sizes)
