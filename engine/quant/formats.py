from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from engine.api import EngineError
from engine.quant import integers, iquants, kquants, legacy, microscaling, plain, scaled
from engine.quant.format import Format
from engine.quant.scaled import ScaledFormat

FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        entry.name: entry
        for group in (plain, legacy, kquants, iquants, microscaling)
        for entry in group.FORMATS
    }
)
"""By the name that `TensorInfo.type` has."""

SCALED_FORMATS: Mapping[str, ScaledFormat] = MappingProxyType(
    {entry.name: entry for entry in (*scaled.FORMATS, *integers.FORMATS)}
)
"""Those whose scales are stored apart."""


class UnknownFormatError(EngineError):
    """A checkpoint stores weights in a format that is not implemented."""

    def __init__(self, name: str) -> None:
        known = ", ".join((*FORMATS, *SCALED_FORMATS))
        super().__init__("bad_checkpoint", f"weights of type {name} are not supported: {known} are")


def format_named(name: str) -> Format | ScaledFormat:
    """The format of that name, or `UnknownFormatError`."""
    found = FORMATS.get(name) or SCALED_FORMATS.get(name)
    if found is None:
        raise UnknownFormatError(name)
    return found


def unpack(name: str, dtype: torch.dtype, data: Tensor, scales: Tensor | None = None) -> Tensor:
    """The values of rows in the format of that name; scales for those that store them apart."""
    if scales is None:
        return FORMATS[name].unpack(data, dtype)
    return SCALED_FORMATS[name].unpack(data, scales, dtype)
