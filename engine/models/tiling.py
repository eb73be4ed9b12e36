"""What a model's parameters are stored as where native kernels run it."""

import math

import torch

from engine.kernels.cpu.layouts import tiled_bytes, tiled_format
from engine.kernels.weight import DENSE, TILED
from engine.models.binding import Binding
from engine.models.blueprint import Blueprint
from engine.nn.module import Matrix, Table


def tiled_weights_bytes(plan: Blueprint, dtype: torch.dtype) -> int:
    """What all weights take, exactly."""
    return sum(tiled_extent(binding, dtype)[1] for binding in plan.bindings)


def kept_as(binding: Binding, dtype: torch.dtype) -> tuple[str, torch.dtype]:
    """The format of a parameter in an image, and what is computed with it.

    A matrix is tiled in the format that it is stored in, where that is one and has tiles. So is one
    of float16 that is computed with in bfloat16, which is as large and has three bits fewer.
    """
    slot = binding.parameter.slot
    if not isinstance(slot, Matrix):
        return DENSE, torch.float32 if isinstance(slot, Table) or slot.wide else dtype
    if binding.stays_packed("packed", dtype):
        stored = tiled_format(binding.sources[0].tensor.type, dtype)
        if stored is not None:
            return stored, dtype
    kept = torch.float32 if slot.wide else dtype
    if kept == torch.bfloat16 and {source.tensor.type for source in binding.sources} == {"F16"}:
        return TILED + "F16", kept
    dense = tiled_format(DENSE, kept)
    assert dense is not None, "what is computed in can be tiled"
    return dense, kept


def tiled_extent(binding: Binding, dtype: torch.dtype) -> tuple[str, int]:
    """The name of the dtype, and how many bytes."""
    format_name, kept = kept_as(binding, dtype)
    slot = binding.parameter.slot
    if isinstance(slot, Matrix):
        nbytes = tiled_bytes(format_name, *slot.weight_shape)
    else:
        nbytes = math.prod(slot.shape) * kept.itemsize
    return str(kept).removeprefix("torch."), nbytes
