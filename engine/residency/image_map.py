"""An image in memory: its file mapped, verified, and seen as a model's parameters."""

import mmap
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from engine.kernels.cpu import matrices  # noqa: F401  # registers the kernels of tiled weights
from engine.kernels.weight import Weight
from engine.nn.module import Matrix, Slot
from engine.residency.checksum import STRIPE, Bytes, Sums, digest, partial_sums
from engine.residency.image_file import DamagedImage, read_header
from engine.residency.image_plan import DTYPES, ImagePlan, Segment
from engine.residency.loader import LoadCancelled
from engine.residency.pages import populate, prefer_huge

_PART_BYTES = 4 * 2**20


def map_image(
    descriptor: int,
    plan: ImagePlan,
    progress: Callable[[float], None],
    cancelled: Callable[[], bool],
) -> Tensor:
    """The file's bytes, uint8, read-only and all in memory; unmapped with the last view of them.

    The map keeps the descriptor's file open, and with it its lock. Raises `DamagedImage`, and
    `LoadCancelled`.
    """
    checksums = read_header(descriptor, plan)
    mapped, whole = _mapped(descriptor, plan)
    # A cold file comes a third faster so, but its pages would also be the first to go.
    mapped.madvise(mmap.MADV_SEQUENTIAL)
    _verify(whole.numpy(), plan, checksums, progress, cancelled)
    mapped.madvise(mmap.MADV_NORMAL)
    return whole


def map_built(descriptor: int, plan: ImagePlan) -> tuple[mmap.mmap, Tensor]:
    """As `map_image`, of what this process has just written: its pages are in memory.

    The map itself lives as long as a view of it does, too.
    """
    mapped, whole = _mapped(descriptor, plan)
    populate(mapped)
    return mapped, whole


def _mapped(descriptor: int, plan: ImagePlan) -> tuple[mmap.mmap, Tensor]:
    mapped = mmap.mmap(descriptor, plan.file_bytes, mmap.MAP_SHARED, mmap.PROT_READ)
    prefer_huge(mapped)
    with warnings.catch_warnings():
        # Torch warns that the map cannot be written; weights are never written.
        warnings.filterwarnings("ignore", message="The given buffer is not writable")
        return mapped, torch.frombuffer(mapped, dtype=torch.uint8)


def value_of(segment: Segment, slot: Slot, data: Tensor) -> Weight | Tensor:
    """A parameter as a view of its bytes, on whichever device they are."""
    dtype = DTYPES[segment.dtype]
    if not isinstance(slot, Matrix):
        return data.view(dtype).view(segment.shape)
    out_features, in_features = segment.shape
    if segment.is_planes:
        data = data.view(out_features, -1)
    elif not segment.is_tiled:
        data = data.view(dtype).view(segment.shape)
    return Weight(segment.format, (out_features, in_features), data, dtype)


def _verify(
    whole: Bytes,
    plan: ImagePlan,
    checksums: tuple[int, ...],
    progress: Callable[[float], None],
    cancelled: Callable[[], bool],
) -> None:
    """Reads everything once, which also brings it into memory."""

    def sums_of(batch: list[_Part]) -> list[Sums]:
        if cancelled():
            raise LoadCancelled
        return [partial_sums(whole[part.first : part.last], part.start) for part in batch]

    done = 0
    totals = [np.zeros(STRIPE // 8, np.uint64) for _ in plan.segments]
    batches = list(_batches(plan))
    with ThreadPoolExecutor(torch.get_num_threads()) as threads:
        for batch, found in zip(batches, threads.map(sums_of, batches), strict=True):
            for part, sums in zip(batch, found, strict=True):
                totals[part.segment] += sums
                done += part.last - part.first
            progress(done / plan.weights_bytes)
    for segment, sums, expected in zip(plan.segments, totals, checksums, strict=True):
        if digest(sums, segment.nbytes) != expected:
            raise DamagedImage(f"the bytes of {segment.path} are damaged")


class _Part(NamedTuple):
    """Bytes first..last of an image, which begin at byte `start` of a segment."""

    segment: int
    start: int
    first: int
    last: int


def _batches(plan: ImagePlan) -> Iterator[list[_Part]]:
    """All of an image in turn, so much at a time that starting a thread costs nothing."""
    batch: list[_Part] = []
    size = 0
    for number, segment in enumerate(plan.segments):
        for start in range(0, segment.nbytes, _PART_BYTES):
            first = segment.offset + start
            last = first + min(_PART_BYTES, segment.nbytes - start)
            batch.append(_Part(number, start, first, last))
            size += last - first
            if size >= _PART_BYTES:
                yield batch
                batch, size = [], 0
    yield batch
