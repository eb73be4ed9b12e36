"""A device without a device: CPU tensors, and streams that are late and out of lockstep on purpose.

What is copied on a stream happens when somebody waits for it, or at times of its own: a program that
forgets to wait computes with what was there before. All else runs at once, after what its stream
still has to do.
"""

import random
import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import torch
from torch import Tensor

from engine.devices import (
    ALIGNMENT,
    PIN_SLICE_BYTES,
    DeviceLost,
    Event,
    Memory,
    OutOfDeviceMemory,
)
from engine.devices.errors import is_out_of_memory, is_sticky

Work = Callable[[], None]


class FakeEvent:
    def __init__(self, stream: "FakeStream", moment: int) -> None:
        self._stream, self._moment = stream, moment

    def wait(self) -> None:
        self._stream.run_until(self._moment)

    def is_done(self) -> bool:
        self._stream.dawdle()
        return self._stream.num_done >= self._moment


class FakeStream:
    """is_late: what it is given waits for somebody to wait for it, or for a whim."""

    def __init__(self, device: "FakeDevice", name: str, *, is_late: bool) -> None:
        self._device, self.name, self.is_late = device, name, is_late
        self._work: deque[Work] = deque()
        self._lock = threading.RLock()
        self.num_issued = self.num_done = 0

    def issue(self, work: Work) -> None:
        with self._lock:
            self._work.append(work)
            self.num_issued += 1
        if not self.is_late:
            self.synchronise()

    def record(self) -> FakeEvent:
        return FakeEvent(self, self.num_issued)

    def wait(self, event: Event) -> None:
        assert isinstance(event, FakeEvent)
        self.issue(event.wait)

    def synchronise(self) -> None:
        self.run_until(self.num_issued)

    def dawdle(self) -> None:
        """Does some of its work, or none."""
        if self._work:
            self.run_until(self.num_done + self._device.whims.randint(0, len(self._work)))

    def run_until(self, moment: int) -> None:
        self._device.check()
        with self._lock:
            while self.num_done < moment:
                work = self._work.popleft()
                self.num_done += 1
                work()

    def __enter__(self) -> Self:
        self._device.current.streams.append(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._device.current.streams.pop()


class _Current(threading.local):
    def __init__(self) -> None:
        self.streams: list[FakeStream] = []


class FakeGraph:
    nbytes = 1024

    def __init__(self, device: "FakeDevice", run: Work) -> None:
        self._device, self._run = device, run

    def replay(self) -> None:
        self._device.check()
        self._device.current_stream().issue(self._run)


@dataclass(slots=True)
class FakePinned:
    device: "FakeDevice"
    address: int
    nbytes: int

    def release(self) -> None:
        end = self.address + self.nbytes
        if any(self.address <= source < end for source in self.device.being_read):
            self.device.num_released_early += 1
        del self.device.pinned_memory[self.address]


@dataclass
class FakeDevice:
    """total_bytes: of its memory. late_compute: the compute stream's copies are late, too.

    Scripted failures: fails_at_allocation, fails_at_copy count from 0, None is never; what is to be
    pinned counts as an allocation; refuses_pins; `lose` makes every call fail from then on.
    num_released_early: how often memory was unpinned while copies were still to read it.
    """

    total_bytes: int = 1 << 30
    seed: int = 0
    late_compute: bool = False
    fails_at_allocation: int | None = None
    fails_at_copy: int | None = None
    refuses_pins: bool = False
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    name: str = "fake"
    uuid: str = "GPU-fake"
    num_allocations: int = 0
    num_copies: int = 0
    used_bytes: int = 0
    pinned_memory: dict[int, int] = field(default_factory=dict)
    being_read: Counter[int] = field(default_factory=Counter)
    num_released_early: int = 0

    def __post_init__(self) -> None:
        self.whims = random.Random(self.seed)
        self.current = _Current()
        self.is_lost = False
        self._compute = FakeStream(self, "compute", is_late=self.late_compute)
        self._copy = FakeStream(self, "copy", is_late=True)
        self._default = FakeStream(self, "default", is_late=False)

    def lose(self) -> None:
        """From now on nothing works any more."""
        self.is_lost = True

    def check(self) -> None:
        if self.is_lost:
            raise DeviceLost("an illegal memory access was encountered")

    def memory(self) -> Memory:
        return Memory(self.total_bytes - self.used_bytes, self.total_bytes)

    def allocate(self, num_bytes: int) -> Tensor:
        self.check()
        if self._is_to_fail() or num_bytes > self.total_bytes - self.used_bytes:
            raise OutOfDeviceMemory(f"no {num_bytes} bytes are left")
        self.used_bytes += num_bytes
        whole = torch.full((num_bytes + ALIGNMENT,), 0xFF, dtype=torch.uint8)  # NaNs
        start = -whole.data_ptr() % ALIGNMENT
        return whole[start : start + num_bytes]

    def _is_to_fail(self) -> bool:
        number, self.num_allocations = self.num_allocations, self.num_allocations + 1
        return number == self.fails_at_allocation

    def compute_stream(self) -> FakeStream:
        return self._compute

    def copy_stream(self) -> FakeStream:
        return self._copy

    def current_stream(self) -> FakeStream:
        return self.current.streams[-1] if self.current.streams else self._default

    def copy(self, target: Tensor, source: Tensor) -> None:
        self.check()
        assert target.shape == source.shape
        assert target.dtype == source.dtype
        assert target.is_contiguous()
        assert source.is_contiguous()
        number, self.num_copies = self.num_copies, self.num_copies + 1
        if number == self.fails_at_copy:
            raise RuntimeError("CUDA error: invalid argument")
        self._check_slices(source)
        self.being_read[source.data_ptr()] += 1
        self.current_stream().issue(lambda: self._carry_out(target, source))

    def _carry_out(self, target: Tensor, source: Tensor) -> None:
        target.copy_(source)
        self.being_read -= Counter([source.data_ptr()])

    def _check_slices(self, source: Tensor) -> None:
        """No copy crosses from one slice of pinned memory into the next."""
        start, end = source.data_ptr(), source.data_ptr() + source.nbytes
        for address, nbytes in self.pinned_memory.items():
            if address <= start < address + nbytes:
                first, last = ((each - address) // PIN_SLICE_BYTES for each in (start, end - 1))
                assert end <= address + nbytes
                assert first == last

    def pin(self, host: Tensor) -> FakePinned | None:
        self.check()
        if self.refuses_pins:
            return None
        assert host.data_ptr() not in self.pinned_memory, "it is pinned already"
        self.pinned_memory[host.data_ptr()] = host.nbytes
        return FakePinned(self, host.data_ptr(), host.nbytes)

    def pinned(self, num_bytes: int) -> Tensor:
        self.check()
        if self._is_to_fail():
            raise MemoryError(f"no {num_bytes} bytes can be pinned")
        return torch.empty(num_bytes, dtype=torch.uint8)

    def capture(self, run: Work) -> FakeGraph:
        """It runs when it is replayed: whatever it reads and writes must be the same tensors."""
        self.check()
        return FakeGraph(self, run)

    def is_out_of_memory(self, error: BaseException) -> bool:
        return is_out_of_memory(error)

    def is_sticky(self, error: BaseException) -> bool:
        return is_sticky(error)
