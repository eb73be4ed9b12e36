"""NVIDIA's devices, and AMD's, through torch alone."""

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from types import TracebackType
from typing import Any, Self

import structlog
import torch
from torch import Tensor

from engine.devices import (
    ALIGNMENT,
    PIN_SLICE_BYTES,
    DeviceNotFound,
    Event,
    Memory,
    OutOfDeviceMemory,
)
from engine.devices.errors import is_out_of_memory, is_sticky

log = structlog.get_logger()

_PORTABLE, _READ_ONLY = 1, 8
"""Flags of cudaHostRegister: for every context; for pages that may only be read, where it can be."""


@dataclass(frozen=True, slots=True)
class CudaEvent:
    event: torch.cuda.Event

    def wait(self) -> None:
        self.event.synchronize()

    def is_done(self) -> bool:
        return bool(self.event.query())  # type: ignore[no-untyped-call]


class CudaStream:
    def __init__(self, stream: torch.cuda.Stream) -> None:
        self.stream = stream
        self._entered = _Entered()

    def record(self) -> CudaEvent:
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record(self.stream)
        return CudaEvent(event)

    def wait(self, event: Event) -> None:
        assert isinstance(event, CudaEvent)
        self.stream.wait_event(event.event)

    def synchronise(self) -> None:
        self.stream.synchronize()

    def __enter__(self) -> Self:
        context = torch.cuda.stream(self.stream)
        context.__enter__()  # type: ignore[no-untyped-call]
        self._entered.contexts.append(context)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._entered.contexts.pop().__exit__(kind, error, traceback)


class _Entered(threading.local):
    """How to leave a stream again, of one thread."""

    def __init__(self) -> None:
        self.contexts: list[Any] = []


@dataclass(frozen=True, slots=True)
class CudaGraph:
    graph: torch.cuda.CUDAGraph
    nbytes: int

    def replay(self) -> None:
        self.graph.replay()


@dataclass(slots=True)
class CudaPinned:
    """addresses: of the slices that were registered."""

    device: torch.device
    addresses: list[int] = field(default_factory=list)

    def release(self) -> None:
        with torch.cuda.device(self.device):
            while self.addresses:
                _runtime().cudaHostUnregister(self.addresses.pop())


class CudaDevice:
    """which: an index, "GPU-" and a uuid, or "" for the current one. Raises `DeviceNotFound`."""

    def __init__(self, which: str) -> None:
        self.device = torch.device("cuda", _index_of(which))
        properties = torch.cuda.get_device_properties(self.device)
        self.name, self.uuid = properties.name, f"GPU-{properties.uuid}"

    def memory(self) -> Memory:
        return Memory(*torch.cuda.mem_get_info(self.device))

    def allocate(self, num_bytes: int) -> Tensor:
        try:
            found = torch.empty(num_bytes, dtype=torch.uint8, device=self.device)
            if not found.data_ptr() % ALIGNMENT:
                return found
            del found  # there may not be room for both
            found = torch.empty(num_bytes + ALIGNMENT, dtype=torch.uint8, device=self.device)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise OutOfDeviceMemory(f"{self.name} has no {num_bytes} bytes left") from error
        start = -found.data_ptr() % ALIGNMENT
        return found[start : start + num_bytes]

    def compute_stream(self) -> CudaStream:
        return self._compute

    def copy_stream(self) -> CudaStream:
        return self._copy

    @cached_property
    def _compute(self) -> CudaStream:
        return _stream(self.device, priority=-1)

    @cached_property
    def _copy(self) -> CudaStream:
        return _stream(self.device)

    def copy(self, target: Tensor, source: Tensor) -> None:
        target.copy_(source, non_blocking=True)

    def pin(self, host: Tensor) -> CudaPinned | None:
        return self._pin(host, _PORTABLE | _READ_ONLY) or self._pin(host, _PORTABLE)

    def _pin(self, host: Tensor, flags: int) -> CudaPinned | None:
        """The last error of a runtime stays with its thread, so this runs on one of its own."""
        pinned = CudaPinned(self.device)
        starts = [*range(0, host.nbytes, PIN_SLICE_BYTES), host.nbytes]
        for start, end in pairwise(starts):
            address = host.data_ptr() + start
            with torch.cuda.device(self.device):  # else it is the first GPU's, with a context there
                status = _runtime().cudaHostRegister(address, end - start, flags)
            if int(status) != 0:
                pinned.release()
                return None
            pinned.addresses.append(address)
        return pinned

    def pinned(self, num_bytes: int) -> Tensor:
        try:
            with torch.cuda.device(self.device):
                return torch.empty(num_bytes, dtype=torch.uint8, pin_memory=True)
        except RuntimeError as error:
            if self.is_sticky(error):
                raise
            raise MemoryError(f"no {num_bytes} bytes of host memory can be pinned") from error

    def capture(self, run: Callable[[], None]) -> CudaGraph:
        graph = torch.cuda.CUDAGraph()
        before = torch.cuda.memory_reserved(self.device)
        # torch.cuda.graph would wait for all of the device first, for weights that are coming, too;
        # other threads go on allocating and copying meanwhile
        with self._capture:
            graph.capture_begin(pool=self._graphs, capture_error_mode="thread_local")
            try:
                run()
            except BaseException:
                with contextlib.suppress(RuntimeError):  # it is of no use any more, and says so
                    graph.capture_end()
                raise
            graph.capture_end()
        grown = torch.cuda.memory_reserved(self.device) - before
        return CudaGraph(graph, max(0, grown))

    @cached_property
    def _capture(self) -> CudaStream:
        """Not that of models: others record their events on that one at any time."""
        return _stream(self.device)

    @cached_property
    def _graphs(self) -> Any:
        """What all graphs have their memory of."""
        return torch.cuda.graph_pool_handle()

    def is_out_of_memory(self, error: BaseException) -> bool:
        return is_out_of_memory(error)

    def is_sticky(self, error: BaseException) -> bool:
        return is_sticky(error)


def _stream(device: torch.device, priority: int = 0) -> CudaStream:
    return CudaStream(torch.cuda.Stream(device, priority))  # type: ignore[no-untyped-call]


def _runtime() -> Any:
    return torch.cuda.cudart()  # type: ignore[no-untyped-call]


def _index_of(which: str) -> int:
    if not torch.cuda.is_available():
        raise DeviceNotFound("torch finds no GPU here")
    count = torch.cuda.device_count()
    if not which:
        return torch.cuda.current_device()
    if which.isdecimal():
        if int(which) < count:
            return int(which)
        raise DeviceNotFound(f"there is no GPU {which}: torch finds {count}")
    if which.startswith("MIG-") and count == 1:  # torch calls it by its GPU's name
        return 0
    wanted = which.partition("-")[2].lower()
    uuids = [str(torch.cuda.get_device_properties(index).uuid).lower() for index in range(count)]
    if wanted not in uuids:
        raise DeviceNotFound(f"there is no GPU {which}: torch finds {', '.join(uuids) or 'none'}")
    return uuids.index(wanted)
