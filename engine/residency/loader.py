"""Loading: from a checkpoint's bytes to a model that can run."""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from engine.api import Form
from engine.checkpoint import Checkpoint
from engine.kernels.weight import Weight
from engine.models.binding import Binding
from engine.models.blueprint import blueprint
from engine.models.meta import Config
from engine.nn.decoder import CausalLM
from engine.nn.module import Matrix, Table
from engine.quant.formats import FORMATS


class LoadCancelled(Exception):  # no error: it was asked for
    """The load was told to stop; what it had read is dropped."""


def load(
    checkpoint: Checkpoint,
    form: Form,
    dtype: torch.dtype,
    progress: Callable[[float], None],
    cancelled: Callable[[], bool],
) -> CausalLM:
    """The model with its weights, on the CPU. Blocks for as long as reading takes.

    dtype: what is computed in. form "dense" copies everything out of the checkpoint's files, in
    that dtype; "packed" keeps what is smaller as it is stored in views of the mapped files, which
    outlive the checkpoint. progress: the fraction of bytes read, after each tensor. cancelled is
    asked before each tensor; then `LoadCancelled` is raised. Raises `CheckpointError` for a
    checkpoint that is no model of ours.
    """
    plan = blueprint(checkpoint)
    total = sum(_stored_bytes(binding) for binding in plan.bindings)
    done = 0
    for binding in plan.bindings:
        if cancelled():
            raise LoadCancelled
        value = _materialise(checkpoint, binding, plan.config, form, dtype)
        binding.parameter.set(value)
        done += _stored_bytes(binding)
        progress(done / total)
    return plan.model


def _stored_bytes(binding: Binding) -> int:
    return binding.source.nbytes if binding.source else 0


def _materialise(
    checkpoint: Checkpoint, binding: Binding, config: Config, form: Form, dtype: torch.dtype
) -> Weight | Tensor:
    slot = binding.parameter.slot
    if isinstance(slot, Table):
        return _table(checkpoint, binding, slot)
    assert binding.source is not None
    raw = _bytes(checkpoint, binding.source.name)
    unpack = FORMATS[binding.source.type].unpack
    if not isinstance(slot, Matrix):
        # Changed before it is rounded, as the originals add in float32.
        exact = unpack(raw, torch.float32)
        changed = binding.transform(exact, config) if binding.transform else exact
        return changed if slot.wide else changed.to(dtype)
    rows = raw.view(slot.out_features, -1)
    if binding.transform:
        rows = binding.transform(rows, config)
    if binding.stays_packed(form, dtype):
        shape = (slot.out_features, slot.in_features)
        return Weight(binding.source.type, shape, rows, dtype)
    return Weight.dense(unpack(rows, dtype))


def _table(checkpoint: Checkpoint, binding: Binding, slot: Table) -> Tensor:
    values = torch.tensor(slot.values, dtype=torch.float32)
    if binding.source is None:
        return values
    # GGUF's rope_freqs: what each frequency is divided by.
    raw = _bytes(checkpoint, binding.source.name)
    return values / FORMATS[binding.source.type].unpack(raw, torch.float32)


def _bytes(checkpoint: Checkpoint, name: str) -> Tensor:
    with warnings.catch_warnings():
        # Torch warns that the file's map cannot be written; weights are never written.
        warnings.filterwarnings("ignore", message="The given buffer is not writable")
        return torch.frombuffer(checkpoint.read(name), dtype=torch.uint8)
