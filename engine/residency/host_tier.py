"""Images in host memory, for devices to copy from: those used last, pinned as soon as there is time.

A pinned image comes at a link's full rate, and nobody has to carry it. A map of a file is pinned as it
is, where a driver takes pages that may only be read; else a copy of it in memory of our own is; where
that can't be had either, the image stays as it is and goes by way of `PinnedRing`.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import structlog
import torch
from torch import Tensor

from engine.devices import Accelerator, Event, Pinned
from engine.kernels.pages import zero_pages
from engine.residency.host_memory import available_bytes
from engine.residency.pages import let_go_of_bytes
from engine.residency.warm import Kept, Warm, WarmBudget

log = structlog.get_logger()


class ImageGoneError(LookupError):
    """An image was let go of meanwhile."""


@dataclass(slots=True, eq=False)
class HostImage:
    """The bytes of an image: uint8, (n,). Any thread may call.

    is_file: of a map whose pages a disk has, too.
    """

    key: str
    whole: Tensor
    is_file: bool
    pinned: Pinned | None = None
    is_gone: bool = False
    _events: list[Event] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def nbytes(self) -> int:
        return self.whole.nbytes

    @property
    def is_pinned(self) -> bool:
        return self.pinned is not None

    @contextmanager
    def in_use(self) -> Iterator[list[Event]]:
        """While copies of it are issued; it stays until the events that the list is given.

        Raises `ImageGoneError`.
        """
        with self._lock:
            if self.is_gone:
                raise ImageGoneError(self.key)
            yield self._events

    def pin(self, accelerator: Accelerator, *, as_it_is: bool) -> bool:
        """Once; whether it could be, or might have been, pinned as it is. Blocks for seconds."""
        if self.is_gone:
            return as_it_is
        pinned, copied = accelerator.pin(self.whole) if as_it_is else None, None
        if pinned is None:
            copied = _copy_of(self.whole)
            pinned = None if copied is None else accelerator.pin(copied)
        if pinned is None:
            log.warning("image_not_pinned", bytes=self.nbytes, lost="copies of it are slower")
            return False
        with self._lock:
            self.pinned = pinned
            if copied is not None:
                self._wait()
                self._let_go_of_pages()
                self.whole, self.is_file = copied, False
        return copied is None

    def release(self) -> None:
        """Once no copy reads it any more."""
        with self._lock:
            self._wait()
            self.is_gone = True
            if self.pinned is not None:
                self.pinned.release()
                self.pinned = None
            self._let_go_of_pages()
            self.whole = torch.empty(0, dtype=torch.uint8)

    def _let_go_of_pages(self) -> None:
        if self.is_file:
            let_go_of_bytes(self.whole)

    def _wait(self) -> None:
        for event in self._events:
            event.wait()
        self._events.clear()


class HostTier:
    """Within a budget, the least recently used go first. Any thread may call.

    What is to be pinned or let go of is done by a thread of its own, one after the other.
    """

    def __init__(self, accelerator: Accelerator, max_bytes: int) -> None:
        self._accelerator = accelerator
        self._kept: Warm[HostImage] = Warm(WarmBudget(max_bytes, max_bytes))
        self._lock = threading.Lock()
        self._pins_maps = True
        self._jobs: deque[Callable[[], None]] = deque()
        self._is_busy = False

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of each image, by its key."""
        with self._lock:
            return self._kept.sizes

    @property
    def num_bytes(self) -> int:
        with self._lock:
            return self._kept.nbytes

    def find(self, key: str) -> HostImage | None:
        """Which is then the one used last."""
        with self._lock:
            image = self._kept.take(key)
            gone = [] if image is None else self._put(image)
            assert not gone, "what was kept fits"
            return image

    def keep(self, image: HostImage) -> list[HostImage]:
        """What has to go for it, itself among them where it does not fit; pinned when there is time.

        It belongs to the tier; what is given back is the caller's, to `let_go`.
        """
        with self._lock:
            gone = self._put(image)
        if image not in gone:
            self._do(lambda: self._pin(image))
        return gone

    def let_go(self, image: HostImage) -> None:
        """Without waiting for copies that still read it."""
        self._do(image.release)

    def settle(self) -> None:
        """Waits until all is pinned and let go of that was to be."""
        done = threading.Event()
        self._do(done.set)
        done.wait()

    def _put(self, image: HostImage) -> list[HostImage]:
        return self._kept.put(image.key, Kept(image, image.nbytes, is_reclaimable=False))

    def _pin(self, image: HostImage) -> None:
        self._pins_maps = image.pin(self._accelerator, as_it_is=self._pins_maps)

    def _do(self, job: Callable[[], None]) -> None:
        with self._lock:
            self._jobs.append(job)
            if not self._is_busy:
                self._is_busy = True
                threading.Thread(target=self._work, name="host tier", daemon=True).start()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._jobs:
                    self._is_busy = False
                    return
                job = self._jobs.popleft()
            try:
                job()
            except Exception:  # a device that is lost says so to the next load or step, too
                log.exception("host_tier_failed")
            del job  # it holds an image


def _copy_of(whole: Tensor) -> Tensor | None:
    """In anonymous memory, in huge pages where there are any; None where there is not enough."""
    if len(whole) > available_bytes() // 2:
        return None
    try:
        copied = zero_pages(len(whole), huge=True)
        copied.copy_(whole)
    except (MemoryError, OSError):
        return None
    return copied
