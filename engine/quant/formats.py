from collections.abc import Mapping
from types import MappingProxyType

from engine.api import EngineError
from engine.quant import iquants, kquants, legacy, plain
from engine.quant.format import Format

FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        entry.name: entry
        for entry in (*plain.FORMATS, *legacy.FORMATS, *kquants.FORMATS, *iquants.FORMATS)
    }
)
"""By the name that `TensorInfo.type` has."""


class UnknownFormatError(EngineError):
    """A checkpoint stores weights in a format that is not implemented."""

    def __init__(self, name: str) -> None:
        known = ", ".join(FORMATS)
        super().__init__("bad_checkpoint", f"weights of type {name} are not supported: {known} are")


def format_named(name: str) -> Format:
    """The format of that name, or `UnknownFormatError`."""
    if name not in FORMATS:
        raise UnknownFormatError(name)
    return FORMATS[name]
