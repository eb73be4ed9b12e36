"""What is known of checkpoints without reading them again."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from engine.checkpoint import open_checkpoint
from engine.checkpoint.stamps import are_current
from engine.models.shards import Shard
from engine.residency.image_plan import Layout
from engine.residency.outline import Outline, Outlines, outline_of
from engine.residency.outline_file import decoded, encoded
from engine.residency.sidecar import Question, Sidecars


class KnownOutlines:
    """In memory, in files beside the images, or found out and kept in both. Any thread may call.

    dtype: where none is asked for. folder: that of the images.
    """

    def __init__(self, dtype: torch.dtype, folder: Path | None, layout: Layout = "tiled") -> None:
        self._dtype, self._layout = dtype, layout
        self._outlines, self._sidecars = Outlines(), Sidecars(folder)

    def of(
        self,
        path: Path,
        take_time: Callable[[], None],
        shard: Shard | None = None,
        dtype: torch.dtype | None = None,
    ) -> Outline:
        """take_time: told before a checkpoint is read. Raises what `open_checkpoint` raises."""
        dtype = dtype or self._dtype
        outline = self._outlines.find(path, dtype, self._layout, shard)
        if outline is None:
            part = () if shard is None else (f"{shard.rank} of {shard.size}",)
            question = Question.of(path, "outline", str(dtype), self._layout, *part)
            outline = self._kept(question, path)
            if outline is None:
                take_time()
                with open_checkpoint(path) as checkpoint:
                    outline = outline_of(checkpoint, dtype, self._layout, shard)
                if content := encoded(outline):
                    self._sidecars.keep(question, content)
            self._outlines.keep(outline)
        return outline

    def _kept(self, question: Question, path: Path) -> Outline | None:
        """What another process has found out."""
        content = self._sidecars.find(question)
        if content is None:
            return None
        try:
            outline = decoded(content)
        except (LookupError, ValueError):
            return None
        return replace(outline, path=path) if are_current(outline.stamps) else None
