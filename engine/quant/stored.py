"""A checkpoint's weights, of which some are two stored tensors: values and their scales."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache

import structlog
import torch
from torch import Tensor

from engine.checkpoint import Checkpoint, CheckpointError, SafetensorsCheckpoint, TensorInfo
from engine.quant.formats import FORMATS
from engine.quant.grouped import DECODED, GroupedTensor, NotStoredRight, Read
from engine.quant.grouped_headers import find_grouped, stored_names
from engine.quant.methods import integer_scheme, why_refused
from engine.quant.scaled import SCALE_BLOCK

log = structlog.get_logger()

_SCALES_OF_FP8 = ("_scale_inv", "_scale")
_FP8_SCALE_TYPES = ("F32", "BF16", "F16")
_BLOCKS, _SCALES = "_blocks", "_scales"

_OF_ACTIVATIONS = (
    # What is not stored is not quantised here: activations and caches keep their precision.
    *("*.input_scale", "*.output_scale", "*.activation_scale", "*.input_scale_ub"),
    *("*.q_scale", "*.k_scale", "*.v_scale"),
)


@dataclass(frozen=True, slots=True)
class ScaledTensor(TensorInfo):
    """A weight whose scales are a tensor of their own.

    name: of the tensor of values. shape: of the values. type: of a `ScaledFormat`. nbytes: what
    values and scales take as they are kept.
    """

    scales: TensorInfo

    @property
    def num_rows(self) -> int:
        return math.prod(self.shape[:-1])


def stored_weights(checkpoint: Checkpoint) -> dict[str, TensorInfo]:
    """What can be loaded, by name: values and scales are one entry under the weight's name.

    Raises `CheckpointError` for a way of quantising that is not supported, and for scales that do
    not fit their values.
    """
    if not isinstance(checkpoint, SafetensorsCheckpoint):
        return dict(checkpoint.tensors)
    if refused := why_refused(checkpoint.config):
        raise CheckpointError(f"{checkpoint.path.name}: quantization_config: {refused}")
    found = {
        name: info
        for name, info in checkpoint.tensors.items()
        if not any(fnmatchcase(name, pattern) for pattern in _OF_ACTIVATIONS)
    }
    for name, values in checkpoint.tensors.items():
        pair = _scales_of(values, checkpoint.tensors)
        if pair:
            weight, scales = pair
            found.pop(name, None)
            found.pop(scales.name, None)
            found[weight] = _scaled(checkpoint, values, scales)
    return _with_integers(checkpoint, found)


def stored_parts(checkpoint: Checkpoint, tensor: TensorInfo, read: Read) -> tuple[Tensor, ...]:
    """What `Format.unpack` takes of a whole tensor: its rows, and their scales if stored apart.

    Raises `CheckpointError` for tensors that contradict each other.
    """
    if isinstance(tensor, GroupedTensor):
        try:
            return tensor.parts(read)
        except NotStoredRight as error:
            raise CheckpointError(f"{checkpoint.path.name}: {error}") from error
    if isinstance(tensor, ScaledTensor):
        return read(tensor), row_scales(tensor, read(tensor.scales))
    return (read(tensor),)


def row_scales(tensor: ScaledTensor, stored: Tensor) -> Tensor:
    """The scales (nbytes,) uint8 of a tensor, as its format wants them: (rows, scales of a row)."""
    if tensor.type == "MXFP4_SPLIT":
        return stored.view(tensor.num_rows, -1)
    values = FORMATS[tensor.scales.type].unpack(stored, torch.float32).view(tensor.scales.shape)
    *leading, num_rows, _ = tensor.shape
    if tensor.type == "FP8_BLOCK":
        spread = values.repeat_interleave(SCALE_BLOCK, dim=-2)[..., :num_rows, :]
        return spread.flatten(0, -2)
    column = values.unsqueeze(-1) if values.shape == (*leading, num_rows) else values
    return column.expand(*leading, num_rows, 1).reshape(-1, 1)


def _with_integers(
    checkpoint: SafetensorsCheckpoint, found: dict[str, TensorInfo]
) -> dict[str, TensorInfo]:
    """The same, where codes, scales, zeros and order of a weight of integers are one entry."""
    scheme = integer_scheme(checkpoint.config)
    if scheme is None:
        return found
    try:
        grouped = find_grouped(scheme, found)
    except NotStoredRight as error:
        raise CheckpointError(f"{checkpoint.path.name}: {error}") from error
    for module in grouped:
        for name in stored_names(scheme, module):
            found.pop(name, None)
    decoded = [module for module, tensor in grouped.items() if tensor.type == DECODED]
    if decoded:
        _log_decoded(checkpoint.path.name, len(decoded), decoded[0])
    return found | {f"{module}.weight": tensor for module, tensor in grouped.items()}


@cache
def _log_decoded(checkpoint: str, num_weights: int, first: str) -> None:
    """Groups of inputs in no order or of odd sizes: kept as numbers, four times as large."""
    log.warning("weights_decoded", checkpoint=checkpoint, num_weights=num_weights, first=first)


def _scales_of(
    values: TensorInfo, tensors: Mapping[str, TensorInfo]
) -> tuple[str, TensorInfo] | None:
    """The weight's name and its scales, where these values have any."""
    if len(values.shape) < 2:
        return None
    if values.type == "F8_E4M3":
        names = [
            values.name + suffix for suffix in _SCALES_OF_FP8 if values.name + suffix in tensors
        ]
        return (values.name, tensors[names[0]]) if names else None
    weight = values.name.removesuffix(_BLOCKS)
    if values.type == "U8" and weight != values.name and weight + _SCALES in tensors:
        return weight, tensors[weight + _SCALES]
    return None


def _scaled(checkpoint: Checkpoint, values: TensorInfo, scales: TensorInfo) -> ScaledTensor:
    name, shape = _fp8(values, scales) if values.type == "F8_E4M3" else _mxfp4(values, scales)
    if not name:
        what = f"scales {scales.name!r}, {scales.type} of {list(scales.shape)}"
        fits = f"do not fit {values.type} of {list(values.shape)}"
        raise CheckpointError(f"{checkpoint.path.name}: {what}, {fits}")
    num_rows, width = math.prod(shape[:-1]), shape[-1]
    kept = {"MXFP4_SPLIT": scales.nbytes, "FP8_ROW": 4 * num_rows}
    nbytes = values.nbytes + kept.get(name, 4 * num_rows * -(-width // SCALE_BLOCK))
    return ScaledTensor(values.name, shape, name, nbytes, scales)


def _fp8(values: TensorInfo, scales: TensorInfo) -> tuple[str, tuple[int, ...]]:
    *leading, num_rows, width = values.shape
    blocks = (-(-num_rows // SCALE_BLOCK), -(-width // SCALE_BLOCK))
    rows = {(*leading, num_rows, 1), (*leading, num_rows), (*leading, 1, 1), (1,), ()}
    if scales.type not in _FP8_SCALE_TYPES:
        return "", ()
    if scales.shape in rows:
        return "FP8_ROW", values.shape
    return ("FP8_BLOCK" if scales.shape == (*leading, *blocks) else ""), values.shape


def _mxfp4(values: TensorInfo, scales: TensorInfo) -> tuple[str, tuple[int, ...]]:
    """values: (..., rows, groups, 16), scales: (..., rows, groups), groups of 32 values."""
    *leading, groups, group_bytes = values.shape
    fits = scales.type == "U8" and scales.shape == (*leading, groups) and group_bytes == 16
    return ("MXFP4_SPLIT" if fits else ""), (*leading, groups * 32)
