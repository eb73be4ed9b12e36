"""The weights of models: loaded, kept in memory for a while when nobody uses them, let go of."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from engine.api import Form, Tier
from engine.checkpoint import open_checkpoint
from engine.checkpoint.stamps import are_current, stamps_of
from engine.kernels.trace import Tape
from engine.nn.model import Model
from engine.residency.host_memory import warm_budget
from engine.residency.image import open_outlined
from engine.residency.image_store import ImageStore
from engine.residency.loader import load
from engine.residency.outline import Outline, Outlines, identity, outline_of
from engine.residency.outline_file import decoded, encoded
from engine.residency.pages import bring_back, let_go
from engine.residency.sidecar import Question, Sidecars
from engine.residency.warm import Kept, Warm


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """A model that is ready to run, until it is closed.

    tape: of its forward, where it is to run as a native program. key: a state of a checkpoint and
    how it was loaded; what has the same key computes the same. phases: seconds, by what for.
    operation_bytes: what a program of it uses beside its values while it runs, at most.
    """

    model: Model
    tape: Tape | None
    key: str
    weights_bytes: int
    tier: Tier
    phases: dict[str, float] = field(default_factory=dict)
    operation_bytes: int = 0


class Weights:
    """Opens models, and keeps the mapped images of those that were closed, within a budget.

    Any thread may call: loads run side by side. warm_bytes: of images that nobody uses; None
    leaves it to `warm_budget`, 0 keeps none. What is read-only may be shared: two that open one
    path at once are safe.
    """

    def __init__(self, dtype: torch.dtype, images: ImageStore, warm_bytes: int | None) -> None:
        self._dtype, self._images = dtype, images
        self._outlines, self._sidecars = Outlines(), Sidecars(images.folder)
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
    ) -> Opened:
        """The model. Blocks for as long as loading takes, which for a warm one is nothing.

        take_time: told, on this thread, before anything that takes longer than a step may.
        Raises what `open_checkpoint` and `load` raise, and `LoadCancelled`.
        """
        if form != "tiled":
            take_time()
            return self._read(path, form, progress, cancelled)
        clock = _Clock()
        outline = self._outline(path, take_time)
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

    def _outline(self, path: Path, take_time: Callable[[], None]) -> Outline:
        outline = self._outlines.find(path, self._dtype)
        if outline is None:
            question = Question.of(path, "outline", str(self._dtype))
            outline = self._kept_outline(question, path)
            if outline is None:
                take_time()
                with open_checkpoint(path) as checkpoint:
                    outline = outline_of(checkpoint, self._dtype)
                if content := encoded(outline):
                    self._sidecars.keep(question, content)
            self._outlines.keep(outline)
        return outline

    def _kept_outline(self, question: Question, path: Path) -> Outline | None:
        """What another process has found out."""
        content = self._sidecars.find(question)
        if content is None:
            return None
        try:
            outline = decoded(content)
        except (LookupError, ValueError):
            return None
        return replace(outline, path=path) if are_current(outline.stamps) else None

    def _take(self, outline: Outline) -> "_Image | None":
        with self._lock:
            return self._warm.take(_key(outline))

    def _map(
        self,
        outline: Outline,
        progress: Callable[[float], None],
        cancelled: Callable[[], bool],
    ) -> "tuple[_Image, Tier]":
        model, image = open_outlined(outline, self._images, progress, cancelled)
        tier: Tier = "built" if image.was_built else "disk"
        return _Image(model, _key(outline), image.nbytes, image.path is not None), tier

    def _read(
        self,
        path: Path,
        form: Form,
        progress: Callable[[float], None],
        cancelled: Callable[[], bool],
    ) -> Opened:
        """Dense and packed weights are of one load: the reference, where nothing runs natively."""
        clock = _Clock()
        with open_checkpoint(path) as checkpoint:
            key = identity(stamps_of(checkpoint), checkpoint.digest, form, str(self._dtype))
            clock.lap("headers")
            model = load(checkpoint, form, self._dtype, progress, cancelled)
            clock.lap("read")
        return Opened(model, None, key, model.weights_bytes, "disk", clock.laps)


@dataclass(frozen=True, slots=True)
class _Image:
    """A model over its mapped image. is_file: the system may take its pages by itself."""

    model: Model
    key: str
    nbytes: int
    is_file: bool


def _key(outline: Outline) -> str:
    return identity(outline.stamps, outline.digest, "tiled", str(outline.dtype))


@dataclass(slots=True)
class _Clock:
    """Seconds of one thing after the other."""

    laps: dict[str, float] = field(default_factory=dict)
    _last: float = field(default_factory=time.perf_counter)

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name] = now - self._last
        self._last = now
