"""A model that several ranks compute together: the first leads, the others follow.

    leader: a batch ─▶ told to all ─▶ its own part ─▶ logits ─▶ sampled
    follower:              └─▶ its part, on a thread of its own ─▶ nothing but sums

Everything that is decided, by scheduler, cache manager and sampler, is decided by the leader. Where a
step fails anywhere, it fails as a whole: all ranks leave the group and meet in a new one.
"""

import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

import structlog
import torch
from torch import Tensor

from engine.api import Failure
from engine.cache.views import CacheView
from engine.core.device_model import DeviceModel
from engine.core.failures import failure_of, must_end
from engine.core.lines import Failed, Forward, Line, Regroup, Regrouped, decoded, encoded
from engine.core.ranks import LostTouchError, Ranks
from engine.core.runner import LanguageModel
from engine.core.sequences import limits_of
from engine.kernels.batch import ForwardBatch
from engine.models.limits import StepLimits
from engine.nn.model import Traits
from engine.residency.loader import LoadCancelled

REGROUP_SECONDS = 30.0

LOST = Failure("worker_lost", "a device that held a part of the model was lost")

log = structlog.get_logger()


class LedModel:
    """The leader's part, as the whole model to whoever runs it.

    lines: to the followers, by rank. It must be closed.
    """

    def __init__(self, model: LanguageModel, ranks: Ranks, lines: Sequence[Line]) -> None:
        self.model, self._ranks, self._lines = model, ranks, lines
        self._answers: queue.SimpleQueue[Regrouped | None] = queue.SimpleQueue()
        self._is_lost = False
        for rank, line in enumerate(lines, start=1):
            name = f"hear rank {rank}"
            threading.Thread(target=self._hear, args=(line,), name=name, daemon=True).start()

    @property
    def vocab_size(self) -> int:
        return self.model.vocab_size

    @property
    def traits(self) -> Traits:
        return self.model.traits

    @property
    def length_switch(self) -> int | None:
        return self.model.length_switch

    @property
    def limits(self) -> StepLimits:
        return limits_of(self.model)

    def forward(self, batch: ForwardBatch, caches: Sequence[CacheView]) -> Tensor:
        """As `Model.forward`. Raises `EngineError` where a follower's part of it failed."""
        if self._is_lost:
            raise LOST.error()
        try:
            return self._computed(batch, caches)
        except Exception as error:
            failure = self._regroup()
            if isinstance(error, LostTouchError | OSError):
                raise (failure or LOST).error() from error
            raise

    def close(self) -> None:
        """The followers are done, too."""
        self._is_lost = True
        for line in self._lines:
            line.close()
        self._ranks.leave()

    def _computed(self, batch: ForwardBatch, caches: Sequence[CacheView]) -> Tensor:
        self._tell(encoded(batch))
        result = self.model.forward(batch, caches)
        _wait_for_device(self.model)
        if not self._ranks.are_together:
            raise LostTouchError("the group ended in the middle of a step")
        return result

    def _tell(self, frame: Forward | Regroup) -> None:
        for line in self._lines:
            line.send(frame)

    def _hear(self, line: Line) -> None:
        while (frame := line.receive()) is not None:
            if isinstance(frame, Failed):
                self._ranks.leave(frame.generation)
            elif isinstance(frame, Regrouped):
                self._answers.put(frame)
        self._is_lost = True
        self._answers.put(None)
        self._ranks.leave()

    def _regroup(self) -> Failure | None:
        """Meets the followers anew, if they are all there; why the step failed, if it was theirs."""
        self._ranks.leave()
        until = time.monotonic() + REGROUP_SECONDS
        try:
            self._tell(Regroup())
            answers = [self._answer(until) for _ in self._lines]
            self._ranks.meet(lambda: self._is_lost or time.monotonic() > until)
        except (OSError, RuntimeError, LoadCancelled, queue.Empty):
            log.exception("group_lost")
            self._is_lost = True
            return None
        return next((answer.failure for answer in answers if answer.failure), None)

    def _answer(self, until: float) -> Regrouped:
        answer = self._answers.get(timeout=max(0.0, until - time.monotonic()))
        if answer is None:
            raise OSError("a follower is gone")
        return answer


class Follower:
    """A follower's thread: waits for its part, then computes it as it is told, until the line ends.

    The thread that makes it lends its own priority.
    """

    def __init__(self, num_threads: int) -> None:
        self._num_threads = num_threads
        self._parts: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="follow", daemon=True)
        self._thread.start()

    def follow(
        self, model: LanguageModel, caches: Sequence[CacheView], ranks: Ranks, line: Line
    ) -> None:
        self._parts.put(partial(_follow, model, caches, ranks, line))

    def end(self) -> None:
        """Waits until nothing of the part is used; its line must have ended, if it has one."""
        self._parts.put(None)
        self._thread.join()

    def _run(self) -> None:
        torch.set_num_threads(self._num_threads)  # kept per thread
        while (part := self._parts.get()) is not None:
            try:
                part()
            except Exception:
                log.exception("follower_failed")


def _follow(model: LanguageModel, caches: Sequence[CacheView], ranks: Ranks, line: Line) -> None:
    failure: Failure | None = None
    try:
        while (frame := line.receive()) is not None:
            if isinstance(frame, Forward):
                is_done, failure = _compute(model, caches, frame)
                if not is_done:
                    ranks.leave()
                    line.send(Failed(ranks.generation))
            elif isinstance(frame, Regroup):
                ranks.leave()
                line.send(Regrouped(failure))
                _meet_soon(ranks)
    finally:
        line.close()
        ranks.leave()


def _compute(
    model: LanguageModel, caches: Sequence[CacheView], frame: Forward
) -> tuple[bool, Failure | None]:
    """Whether the step was computed; why not, unless it was for another rank's sake."""
    try:
        with torch.inference_mode():
            model.forward(decoded(frame), caches)
            _wait_for_device(model)
    except LostTouchError:
        return False, None
    except Exception as error:
        log.exception("step_failed")
        if must_end(error):
            os._exit(1)  # the supervisor starts a new one
        return False, failure_of(error)
    return True, None


def _wait_for_device(model: LanguageModel) -> None:
    """What goes wrong there, and sums that were given up there, show only once it is done."""
    if isinstance(model, DeviceModel):
        model.accelerator.compute_stream().record().wait()


def _meet_soon(ranks: Ranks) -> None:
    until = time.monotonic() + REGROUP_SECONDS
    ranks.meet(lambda: time.monotonic() > until)
