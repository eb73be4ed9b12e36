"""What a model's parameters are stored as where a GPU runs it, and where in its image."""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

import torch

from engine.kernels.plane_layouts import planes_format, planes_row_bytes
from engine.kernels.weight import DENSE
from engine.models.binding import Binding
from engine.models.blueprint import Blueprint
from engine.nn.module import Matrix, Table

UNIT = 2 * 2**20
"""Bytes in which a device's memory is given out."""

PAGE = 4096
"""A layer begins at a multiple of so many bytes."""

ALIGNMENT = 256
"""And a parameter of so many: no load of a kernel is torn."""

_LAYER = re.compile(r"(.*?\.\d+)\.")


def planes_weights_bytes(plan: Blueprint, dtype: torch.dtype) -> int:
    """What all weights take on a device, exactly: gaps between them and the last unit count."""
    _, end = places(plan.bindings, dtype)
    return -(-end // UNIT) * UNIT


def planes_kept_as(binding: Binding, dtype: torch.dtype) -> tuple[str, torch.dtype]:
    """The format of a parameter in an image, and what is computed with it.

    A matrix is in planes of the format that it is stored in, where that is one and has planes.
    """
    slot = binding.parameter.slot
    if not isinstance(slot, Matrix):
        return DENSE, torch.float32 if isinstance(slot, Table) or slot.wide else dtype
    if binding.stays_packed("packed", dtype):
        stored = planes_format(binding.sources[0].tensor.type, dtype)
        if stored is not None:
            return stored, dtype
    return DENSE, torch.float32 if slot.wide else dtype


def planes_extent(binding: Binding, dtype: torch.dtype) -> int:
    """How many bytes it takes."""
    format_name, kept = planes_kept_as(binding, dtype)
    slot = binding.parameter.slot
    if format_name == DENSE:
        return math.prod(slot.shape) * kept.itemsize
    assert isinstance(slot, Matrix)
    rows, columns = slot.weight_shape
    return rows * planes_row_bytes(format_name, columns)


def places(bindings: Sequence[Binding], dtype: torch.dtype) -> tuple[list[int], int]:
    """Where each parameter begins, from the first one's place, and behind them all.

    Layers follow each other as they are computed. Within one, matrices of one format that one
    input is multiplied by lie next to each other, as q, k and v, so that they can be read as one.
    """
    offsets, end = [0] * len(bindings), 0
    paths = [binding.parameter.path for binding in bindings]
    for layer in layers(paths):
        end = -(-end // PAGE) * PAGE
        for number in _side_by_side(layer, bindings, dtype):
            offsets[number] = end = -(-end // ALIGNMENT) * ALIGNMENT
            end += planes_extent(bindings[number], dtype)
    return offsets, end


def layers(paths: Iterable[str]) -> Iterator[list[int]]:
    """Places of the paths, layer by layer; what stands before and behind the layers is one, too."""

    def layer_of(numbered: tuple[int, str]) -> str:
        found = _LAYER.match(numbered[1])
        return found[1] if found else ""

    for _, members in groupby(enumerate(paths), key=layer_of):
        yield [number for number, _ in members]


def _side_by_side(
    layer: Iterable[int], bindings: Sequence[Binding], dtype: torch.dtype
) -> list[int]:
    """A layer's parameters with those of a kind together, at the place of the first."""
    kinds: dict[object, list[int]] = {}
    for number in layer:
        parameter, slot = bindings[number].parameter, bindings[number].parameter.slot
        block = parameter.path.rsplit(".", 2)[0]
        size = slot.in_features if isinstance(slot, Matrix) else 0
        kind = block, size, planes_kept_as(bindings[number], dtype)
        kinds.setdefault(kind, []).append(number)
    return [number for members in kinds.values() for number in members]
