"""Accelerators: memory, streams, copies and graphs of one device, behind one seam.

`engine.devices.cuda` is torch's (also for ROCm, which torch calls "cuda"); tests have one that needs
no device and is late on purpose.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

import torch
from torch import Tensor

ALIGNMENT = 2 * 2**20
"""What `allocate` aligns to, in bytes."""


class OutOfDeviceMemory(MemoryError):
    """A device has no such piece of memory left; nothing was changed."""


class DeviceLost(RuntimeError):
    """A device answers nothing any more until this process has ended."""


class DeviceNotFound(LookupError):
    """There is no device of that name here."""


@dataclass(frozen=True, slots=True)
class Memory:
    free_bytes: int
    total_bytes: int


class Event(Protocol):
    """A moment in the work of a stream."""

    def wait(self) -> None:
        """Blocks the host until it has come."""

    def is_done(self) -> bool: ...


class Stream(Protocol):
    """Work that is carried out in order, beside that of other streams.

    What is issued inside its `with` goes to it, on this thread.
    """

    def record(self) -> Event:
        """Of all that was issued to it until now."""

    def wait(self, event: Event) -> None:
        """What is issued from now on begins after the event. Does not block the host."""

    def synchronise(self) -> None:
        """Blocks the host until all that was issued is done. Raises what went wrong in it."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


class Graph(Protocol):
    """Work that was recorded, over the addresses that it had then."""

    @property
    def nbytes(self) -> int:
        """Of the device's memory, at most, that would be free without it."""

    def replay(self) -> None:
        """Issues all of it to the current stream."""


class Pinned(Protocol):
    """Host memory that a device reads by itself, until it is released."""

    def release(self) -> None: ...


class Accelerator(Protocol):
    """One device. Any thread may call. The process ends where `is_sticky` says so of an error."""

    @property
    def device(self) -> torch.device: ...

    @property
    def name(self) -> str: ...

    @property
    def uuid(self) -> str: ...

    def memory(self) -> Memory: ...

    def allocate(self, num_bytes: int) -> Tensor:
        """(num_bytes,) uint8 at a multiple of `ALIGNMENT`, of any content.

        Raises `OutOfDeviceMemory`.
        """

    def compute_stream(self) -> Stream:
        """The one that models run on: always the same."""

    def copy_stream(self) -> Stream:
        """The one that weights and caches come and go on: always the same."""

    def copy(self, target: Tensor, source: Tensor) -> None:
        """Issues a copy, of contiguous tensors of one size, to the current stream.

        From and to pinned memory the host does not wait, and must keep the source as it is.
        """

    def pin(self, host: Tensor) -> Pinned | None:
        """Makes existing memory such that copies from it run by themselves; None where it cannot be.

        host: contiguous uint8, possibly in pages that may only be read. It is pinned in slices of
        `PIN_SLICE_BYTES` from its beginning, and no copy may cross from one into the next. Blocks.
        """

    def pinned(self, num_bytes: int) -> Tensor:
        """New pinned memory, (num_bytes,) uint8: little, for staging. Raises `MemoryError`."""

    def capture(self, run: Callable[[], None]) -> Graph:
        """What `run` issues, without carrying it out. Graphs share their memory: one at a time runs.

        Raises what `run` raises, and whatever the device says to what cannot be captured.
        """

    def is_out_of_memory(self, error: BaseException) -> bool: ...

    def is_sticky(self, error: BaseException) -> bool:
        """The context is gone: whatever is asked of the device from now on fails."""


PIN_SLICE_BYTES = 256 * 2**20
"""Pinning holds a lock that every other call to a driver waits for, 10 to 100 ms for so much."""


def accelerator(name: str) -> Accelerator:
    """The device called "cuda", "cuda:0" or "cuda:GPU-<uuid>". Raises `DeviceNotFound`."""
    kind, _, which = name.partition(":")
    if kind != "cuda":
        raise DeviceNotFound(f'{name} is no accelerator that we know; these are "cuda:<which>"')
    from engine.devices.cuda import CudaDevice  # only where it is asked for

    return CudaDevice(which)


def is_accelerator(name: str) -> bool:
    """Whether a device's name means one of these, present or not."""
    return name.partition(":")[0] == "cuda"
