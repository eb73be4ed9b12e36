"""The weights of models: loaded, kept in memory for a while when nobody uses them, let go of."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch

from engine.api import Form, Tier
from engine.checkpoint import open_checkpoint
from engine.checkpoint.stamps import stamps_of
from engine.core.known import KnownOutlines
from engine.kernels.trace import Tape
from engine.models.shards import Shard
from engine.nn.model import Model
from engine.residency.host_memory import warm_budget
from engine.residency.image import open_outlined
from engine.residency.image_store import ImageStore
from engine.residency.loader import load
from engine.residency.outline import Outline, identity
from engine.residency.pages import bring_back, let_go
from engine.residency.transfer import Arrivals
from engine.residency.warm import Kept, Warm


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """A model that is ready to run, until it is closed.

    tape: of its forward, where it is to run as a native program. key: a state of a checkpoint and
    how it was loaded; what has the same key computes the same. phases: seconds, by what for.
    operation_bytes: what a program of it uses beside its values while it runs, at most; on a GPU all
    that it uses beside weights and caches. arrivals: of weights that are on their way to a GPU.
    generation: on a GPU, the same again only for the same weights at the same addresses.
    """

    model: Model
    tape: Tape | None
    key: str
    weights_bytes: int
    tier: Tier
    phases: dict[str, float] = field(default_factory=dict)
    operation_bytes: int = 0
    arrivals: Arrivals | None = None
    generation: int = 0


class ModelWeights(Protocol):
    """What opens models and takes them back, on whichever device. Any thread may call."""

    @property
    def warm_models(self) -> int:
        """Those that nobody uses, and that come back without a disk."""

    @property
    def warm_bytes(self) -> int:
        """What they take of host memory."""

    def open(
        self,
        path: Path,
        form: Form,
        progress: Callable[[float], None] = ...,
        cancelled: Callable[[], bool] = ...,
        take_time: Callable[[], None] = ...,
        *,
        shard: Shard | None = ...,
        dtype: torch.dtype | None = ...,
    ) -> Opened:
        """As `Weights.open`."""

    def close(self, opened: Opened) -> bool:
        """As `Weights.close`."""


class Weights:
    """Opens models, and keeps the mapped images of those that were closed, within a budget.

    Any thread may call: loads run side by side. dtype: what is computed in where none is asked for;
    images of all dtypes share the budget. warm_bytes: of images that nobody uses; None
    leaves it to `warm_budget`, 0 keeps none. What is read-only may be shared: two that open one
    path at once are safe.
    """

    def __init__(self, dtype: torch.dtype, images: ImageStore, warm_bytes: int | None) -> None:
        self._dtype, self._images = dtype, images
        self._known = KnownOutlines(dtype, images.folder)
        self._lock = threading.Lock()
        self._warm: Warm[_Image] = Warm(warm_budget(warm_bytes))
        self._open: dict[Opened, _Image] = {}

    @property
    def warm_models(self) -> int:
        return len(self._warm)

    @property
    def warm_bytes(self) -> int:
        with self._lock:
            return self._warm.nbytes

    def open(
        self,
        path: Path,
        form: Form,
        progress: Callable[[float], None] = lambda _: None,
        cancelled: Callable[[], bool] = lambda: False,
        take_time: Callable[[], None] = lambda: None,
        *,
        shard: Shard | None = None,
        dtype: torch.dtype | None = None,
    ) -> Opened:
        """The model. Blocks for as long as loading takes, which for a warm one is nothing.

        take_time: told, on this thread, before anything that takes longer than a step may. shard: of
        the part of one of several ranks, whose blocks are still to join a `Group`.
        Raises what `open_checkpoint` and `load` raise, and `LoadCancelled`.
        """
        if form != "tiled":
            take_time()
            dtype = dtype or self._dtype
            return self._read(path, form, progress, cancelled, shard=shard, dtype=dtype)
        clock = Clock()
        outline = self._known.of(path, take_time, shard, dtype)
        clock.lap("headers")
        image = self._take(outline)
        if image is None:
            take_time()
            image, tier = self._map(outline, progress, cancelled)
            clock.lap("build" if tier == "built" else "map")
        else:
            tier = "warm"
            bring_back(image.model)
            clock.lap("pages")
            progress(1.0)
        nbytes = image.model.weights_bytes
        opened = Opened(
            image.model,
            outline.tape,
            image.key,
            nbytes,
            tier,
            clock.laps,
            outline.operation_bytes,
        )
        with self._lock:
            self._open[opened] = image
        return opened

    def close(self, opened: Opened) -> bool:
        """Nobody runs it any more. Whether memory was let go of: this model's, or an older one's.

        The caller drops its own references first or soon after; a warm one is given out again.
        """
        with self._lock:
            image = self._open.pop(opened, None)
            if image is None:  # of a form that is not kept
                return True
            kept = Kept(image, image.nbytes, image.is_file)
            gone = self._warm.put(opened.key, kept)
        for each in gone:
            let_go(each.model)
        return bool(gone)

    def _take(self, outline: Outline) -> "_Image | None":
        with self._lock:
            return self._warm.take(outline.key)

    def _map(
        self,
        outline: Outline,
        progress: Callable[[float], None],
        cancelled: Callable[[], bool],
    ) -> "tuple[_Image, Tier]":
        model, image = open_outlined(outline, self._images, progress, cancelled)
        tier: Tier = "built" if image.was_built else "disk"
        return _Image(model, outline.key, image.nbytes, image.path is not None), tier

    def _read(
        self,
        path: Path,
        form: Form,
        progress: Callable[[float], None],
        cancelled: Callable[[], bool],
        *,
        shard: Shard | None,
        dtype: torch.dtype,
    ) -> Opened:
        """Dense and packed weights are of one load: the reference, where nothing runs natively."""
        clock = Clock()
        with open_checkpoint(path) as checkpoint:
            part = () if shard is None else (str(shard),)
            key = identity(stamps_of(checkpoint), checkpoint.digest, form, str(dtype), *part)
            clock.lap("headers")
            model = load(checkpoint, form, dtype, progress, cancelled, shard=shard)
            clock.lap("read")
        return Opened(model, None, key, model.weights_bytes, "disk", clock.laps)


@dataclass(frozen=True, slots=True)
class _Image:
    """A model over its mapped image. is_file: the system may take its pages by itself."""

    model: Model
    key: str
    nbytes: int
    is_file: bool


@dataclass(slots=True)
class Clock:
    """Seconds of one thing after the other."""

    laps: dict[str, float] = field(default_factory=dict)
    _last: float = field(default_factory=time.perf_counter)

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name] = now - self._last
        self._last = now
