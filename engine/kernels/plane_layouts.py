"""What the planes of a GPU's matrices are, and what they take up; `engine.kernels.planes` says how they lie."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from types import MappingProxyType

import torch

from engine.quant.formats import SCALED_FORMATS

PLANES = "planes:"

RUN = 32
"""Values whose codes stand together."""

ALIGNMENT = 16
"""A plane, and so a row, begins at a multiple of so many bytes."""


@dataclass(frozen=True, slots=True)
class PlaneFormat:
    """Of a format, the planes in their order: codes by their bits, then what scales them.

    bits: of each plane of codes, the lowest first. scales: of each further plane, the bytes of an entry
    and how many values it is for. zero: subtracted from every code.
    """

    bits: tuple[int, ...]
    scales: tuple[tuple[int, int], ...]
    zero: int = 0

    @property
    def planes(self) -> tuple[tuple[int, int], ...]:
        return (*((RUN * bits // 8, RUN) for bits in self.bits), *self.scales)

    def offsets(self, columns: int) -> tuple[int, ...]:
        """Where each plane of a row begins, and behind the last what a row takes up."""
        taken = (entry_bytes * -(-columns // values) for entry_bytes, values in self.planes)
        sizes = (num_bytes + -num_bytes % ALIGNMENT for num_bytes in taken)
        return tuple(accumulate(sizes, initial=0))


PLANE_FORMATS: Mapping[str, PlaneFormat] = MappingProxyType(
    {
        "Q8_0": PlaneFormat((8,), ((2, 32),), zero=128),
        "Q4_0": PlaneFormat((4,), ((2, 32),), zero=8),
        "Q4_1": PlaneFormat((4,), ((4, 32),)),
        "Q5_0": PlaneFormat((4, 1), ((2, 32),), zero=16),
        "Q5_1": PlaneFormat((4, 1), ((4, 32),)),
        "Q4_K": PlaneFormat((4,), ((2, 32), (4, 256))),
        "Q5_K": PlaneFormat((4, 1), ((2, 32), (4, 256))),
        "Q6_K": PlaneFormat((4, 2), ((2, 32), (2, 256)), zero=32),
        "Q2_K": PlaneFormat((2,), ((2, 32), (4, 256))),
        "Q3_K": PlaneFormat((2, 1), ((2, 32), (2, 256)), zero=4),
        "IQ4_NL": PlaneFormat((4,), ((2, 32),)),
        "IQ4_XS": PlaneFormat((4,), ((1, 32), (2, 256))),
        "MXFP4": PlaneFormat((4,), ((1, 32),)),
        "F8": PlaneFormat((8,), ((4, 128),)),
        "I4_32": PlaneFormat((4,), ((4, 32), (1, 32))),
        "I4_128": PlaneFormat((4,), ((4, 128), (1, 128))),
        "I8_32": PlaneFormat((8,), ((4, 32), (1, 32))),
        "I8_128": PlaneFormat((8,), ((4, 128), (1, 128))),
    }
)
"""By the name after "planes:".

Scales: a float16 of each 32 values, with a minimum beside it in the _1 formats; in the K formats
factors, of one byte (scale, then minimum; of each 16 values in Q6_K, Q3_K and, four bits each, Q2_K), then
float16 of each 256 that they are multiplied by; MXFP4's exponents; F8's and I*'s float32, and I*'s zeros,
a byte each. Q8_0's codes and Q6_K's, Q3_K's and IQ4_XS's factors are stored so that the arithmetic is that
of the others: codes plus 128, factors signed.
"""

OF_HALF_RUNS = ("Q6_K", "Q2_K", "Q3_K")
"""Formats with a scale for each 16 values."""

_STORED_AS = {
    "FP8_BLOCK": "F8",
    "FP8_ROW": "F8",
    "MXFP4_SPLIT": "MXFP4",
    "INT4_32": "I4_32",
    "INT4_128": "I4_128",
    "INT8_32": "I8_32",
    "INT8_128": "I8_128",
}

assert set(_STORED_AS) == set(SCALED_FORMATS)


def planes_format(format_name: str, dtype: torch.dtype) -> str | None:  # noqa: ARG001  # as `tiled_format`
    """The form of a weight's format in planes; None for one that has none, as dense ones.

    dtype: what is computed with it, which makes no difference here.
    """
    name = _STORED_AS.get(format_name, format_name)
    return PLANES + name if name in PLANE_FORMATS else None


def plane_format(format_name: str) -> PlaneFormat:
    """Raises `LookupError` for a weight's format that has no planes."""
    name = format_name.removeprefix(PLANES)
    if not format_name.startswith(PLANES) or name not in PLANE_FORMATS:
        raise LookupError(f"{format_name} is no format of planes")
    return PLANE_FORMATS[name]


def planes_row_bytes(format_name: str, columns: int) -> int:
    """Of a row in a format of planes: a multiple of 16."""
    return plane_format(format_name).offsets(columns)[-1]
