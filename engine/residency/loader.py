"""Loading: from a checkpoint's bytes to a model that can run."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain

import torch
from torch import Tensor

from engine.api import Form
from engine.checkpoint import Checkpoint, TensorInfo
from engine.kernels.weight import Weight
from engine.models.binding import Binding
from engine.models.blueprint import blueprint
from engine.models.meta import BaseConfig
from engine.models.shards import Shard
from engine.models.sources import Source
from engine.nn.model import Model
from engine.nn.module import Matrix, Table
from engine.quant.formats import unpack
from engine.quant.stored import stored_parts


class LoadCancelled(Exception):  # no error: it was asked for
    """The load was told to stop; what it had read is dropped."""


def load(
    checkpoint: Checkpoint,
    form: Form,
    dtype: torch.dtype,
    progress: Callable[[float], None],
    cancelled: Callable[[], bool],
    *,
    shard: Shard | None = None,
) -> Model:
    """The model with its weights, on the CPU. Blocks for as long as reading takes.

    dtype: what is computed in. form "dense" copies everything out of the checkpoint's files, in
    that dtype; "packed" keeps what is smaller as it is stored in views of the mapped files, which
    outlive the checkpoint. progress: the fraction of bytes read, after each tensor. cancelled is
    asked before each tensor; then `LoadCancelled` is raised. shard: as of `blueprint`. Raises `CheckpointError` for a
    checkpoint that is no model of ours.
    """
    plan = blueprint(checkpoint, shard)
    total = sum(binding.stored_bytes for binding in plan.bindings)
    done = 0
    for binding in plan.bindings:
        if cancelled():
            raise LoadCancelled
        value = materialise(checkpoint, binding, plan.config, form, dtype)
        binding.parameter.set(value)
        done += binding.stored_bytes
        progress(done / total)
    return plan.model


def materialise(
    checkpoint: Checkpoint, binding: Binding, config: BaseConfig, form: Form, dtype: torch.dtype
) -> Weight | Tensor:
    """A parameter's value, as `load` says."""
    slot, change = binding.parameter.slot, binding.transform
    if isinstance(slot, Table):
        return _table(checkpoint, binding, slot)
    if binding.stays_packed(form, dtype):
        assert isinstance(slot, Matrix)
        parts = [_packed(checkpoint, source) for source in binding.sources]
        packed = [_joined(each) for each in zip(*parts, strict=True)]
        rows, *scales = [change(each, config) for each in packed] if change else packed
        return Weight(binding.sources[0].tensor.type, slot.weight_shape, rows, dtype, *scales)
    if isinstance(slot, Matrix):
        kept = torch.float32 if slot.wide else dtype
        unpacked = (_values(checkpoint, source, kept) for source in binding.sources)
        rows = _stacked(unpacked, len(binding.sources))
        return Weight.dense(change(rows, config) if change else rows)
    # Changed before it is rounded, as the originals add in float32.
    exact = _joined([_values(checkpoint, source, torch.float32) for source in binding.sources])
    exact = exact.view(slot.shape)
    changed = change(exact, config) if change else exact
    return changed if slot.wide else changed.to(dtype)


def stored_rows(
    checkpoint: Checkpoint, source: Source, in_features: int, dtype: torch.dtype
) -> Weight:
    """A source's rows as they are stored, to be computed with in `dtype`."""
    rows, *scales = _packed(checkpoint, source)
    return Weight(source.tensor.type, (len(rows), in_features), rows, dtype, *scales)


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def _stacked(parts: Iterator[Tensor], count: int) -> Tensor:
    """Equal parts in one tensor: the experts of a layer are never there twice."""
    first = next(parts)
    if count == 1:
        return first
    whole = first.new_empty((count, *first.shape))
    for index, part in enumerate(chain([first], parts)):
        whole[index] = part
    return whole.flatten(0, 1)


def _packed(checkpoint: Checkpoint, source: Source) -> tuple[Tensor, ...]:
    """Rows as they are stored, and those of their scales where these are stored apart."""
    rows, *scales = stored_parts(checkpoint, source.tensor, partial(_bytes, checkpoint))
    return source.rows(rows), *(source.scales(each) for each in scales)


def _values(checkpoint: Checkpoint, source: Source, dtype: torch.dtype) -> Tensor:
    return unpack(source.tensor.type, dtype, *_packed(checkpoint, source))


def _table(checkpoint: Checkpoint, binding: Binding, slot: Table) -> Tensor:
    values = torch.tensor(slot.values, dtype=torch.float32)
    if not binding.sources:
        return values
    # GGUF's rope_freqs: what each frequency is divided by.
    return values / _values(checkpoint, binding.sources[0], torch.float32).flatten()


def _bytes(checkpoint: Checkpoint, tensor: TensorInfo) -> Tensor:
    with warnings.catch_warnings():
        # Torch warns that the file's map cannot be written; weights are never written.
        warnings.filterwarnings("ignore", message="The given buffer is not writable")
        return torch.frombuffer(checkpoint.read(tensor.name), dtype=torch.uint8)
