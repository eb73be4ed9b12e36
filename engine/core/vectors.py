"""Carries out a plan of a model that makes vectors, or scores, and draws nothing."""

from collections.abc import Sequence as Many
from contextlib import nullcontext
from dataclasses import replace

import torch
from torch import Tensor

from engine.api import Failure
from engine.cache.views import CacheView
from engine.core.batch import forward_batch
from engine.core.plan import BatchPlan, Chunk
from engine.core.runner import Begun, Closed, LanguageModel, Result
from engine.core.sequence import Sequence
from engine.devices import Accelerator
from engine.kernels.batch import ForwardBatch

UNSOUND = Failure("internal", "the model's output is not finite")


class VectorRunner:
    """As `Runner`; a sequence's result comes with its last chunk."""

    def __init__(
        self,
        model: LanguageModel,
        caches: Many[CacheView],
        block_size: int,
        accelerator: Accelerator | None = None,
    ) -> None:
        self.model = model
        self._caches = caches
        self._block_size = block_size
        self._stream = accelerator.compute_stream() if accelerator else None

    def begin(self, plan: BatchPlan) -> Begun:
        return Closed(lambda: self.run(plan))

    @torch.inference_mode()
    def run(self, plan: BatchPlan) -> dict[Sequence, Result]:
        """Computes a plan of at least one chunk; blocks until it is done."""
        with self._stream or nullcontext():
            rows = self.model.forward(self._batch(plan), self._caches).to("cpu")
        if self._stream:  # also where there was nothing to copy
            self._stream.synchronise()
        results = {chunk.sequence: Result() for chunk in plan.chunks}
        last = [chunk for chunk in plan.chunks if chunk.samples]
        for chunk, row in zip(last, rows, strict=True):
            results[chunk.sequence] = _result(row)
        return results

    def _batch(self, plan: BatchPlan) -> ForwardBatch:
        batch = forward_batch(plan, self._block_size, torch.device("cpu"))
        traits = self.model.traits
        segments = torch.cat([_segments(chunk, traits.num_segments) for chunk in plan.chunks])
        return replace(batch, positions=batch.positions + traits.position_offset, segments=segments)


def _segments(chunk: Chunk, num_segments: int) -> Tensor:
    rows = torch.arange(chunk.start, chunk.end)
    return (rows >= chunk.sequence.first_length).long().clamp(max=num_segments - 1)


def _result(row: Tensor) -> Result:
    if not row.isfinite().all():
        return Result(failure=UNSOUND)
    return Result(vector=row.contiguous().numpy().astype("<f4").tobytes())
