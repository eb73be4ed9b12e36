"""What the native library calls the forms that values are stored in, and what they take up.

A matrix that it multiplies is tiled: its rows in tiles of 16, as native/tiles.h says. `Weight.format`
is then "tiled:" and the name of the format that it was stored in, whose values it has exactly.
"""

from collections.abc import Mapping
from types import MappingProxyType

import torch

from engine.kernels.weight import DENSE, TILED
from engine.quant.formats import SCALED_FORMATS
from engine.quant.scaled import SCALE_BLOCK

ROWS = 16
"""Of a tile; a matrix is filled up to a multiple of it."""

ALIGNMENT = 64
"""A tiled matrix begins at a multiple of so many bytes."""

_BLOCK, _GROUP_BLOCKS = 32, 8

NUMBERS: Mapping[str, int] = MappingProxyType(
    {
        "F32": 16,
        "BF16": 17,
        "F16": 18,
        "Q8_0": 19,
        "Q4_0": 20,
        "Q4_1": 21,
        "Q5_0": 22,
        "Q5_1": 23,
        "Q4_K": 24,
        "Q5_K": 25,
        "Q6_K": 26,
        "Q2_K": 27,
        "Q3_K": 28,
        "IQ4_NL": 29,
        "IQ4_XS": 30,
        "MXFP4": 31,
        "F8": 32,
        "I4_32": 33,
        "I4_128": 34,
        "I8_32": 35,
        "I8_128": 36,
    }
)
"""`Format` of native/format.h, by the name after "tiled:"."""

_STORED_AS = {
    "FP8_BLOCK": "F8",
    "FP8_ROW": "F8",
    "MXFP4_SPLIT": "MXFP4",
    "INT4_32": "I4_32",
    "INT4_128": "I4_128",
    "INT8_32": "I8_32",
    "INT8_128": "I8_128",
}

_DENSE = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}

# Bytes of a tile of 16 x 32, and of its group's header: so many, and so many for each block of it.
_TILE_BYTES = {
    "F32": (2048, 0, 0),
    "BF16": (1024, 0, 0),
    "F16": (1024, 0, 0),
    "F8": (512, 128, 0),
    "Q8_0": (512, 0, 32),
    "Q4_0": (256, 0, 32),
    "Q4_1": (256, 0, 64),
    "Q5_0": (320, 0, 32),
    "Q5_1": (320, 0, 64),
    "Q4_K": (256, 64, 32),
    "Q5_K": (320, 64, 32),
    "Q6_K": (384, 32, 32),
    "Q2_K": (128, 64, 32),
    "Q3_K": (192, 32, 32),
    "IQ4_NL": (256, 0, 32),
    "IQ4_XS": (256, 32, 16),
    "MXFP4": (256, 0, 16),
    "I4_32": (256, 0, 80),
    "I4_128": (256, 0, 80),
    "I8_32": (512, 0, 80),
    "I8_128": (512, 0, 80),
}

_BLOCKS_PER_HEADER = {"I4_128": 4, "I8_128": 4}


def tiled_format(format_name: str, dtype: torch.dtype) -> str | None:
    """The tiled form of a weight's format ("dense" among them, by dtype), or None."""
    name = _DENSE.get(dtype) if format_name == DENSE else _STORED_AS.get(format_name, format_name)
    return TILED + name if name is not None and name in NUMBERS else None


def format_number(format_name: str) -> int:
    """Raises `LookupError` for a weight's format that native kernels don't multiply."""
    name = format_name.removeprefix(TILED)
    if not format_name.startswith(TILED) or name not in NUMBERS:
        raise LookupError(f"{format_name} is no tiled format")
    return NUMBERS[name]


def tiled_bytes(format_name: str, rows: int, columns: int) -> int:
    """Of a matrix of that shape in a tiled format."""
    name = format_name.removeprefix(TILED)
    tile, header, header_of_block = _TILE_BYTES[name]
    shared = _BLOCKS_PER_HEADER.get(name, 1)

    def group_bytes(blocks: int) -> int:
        whole = header + -(-blocks // shared) * header_of_block
        return -(-whole // ALIGNMENT) * ALIGNMENT + blocks * tile if blocks else 0

    groups, rest = divmod(-(-columns // _BLOCK), _GROUP_BLOCKS)
    return -(-rows // ROWS) * (groups * group_bytes(_GROUP_BLOCKS) + group_bytes(rest))


assert SCALE_BLOCK == 128, "the header of F8 has a scale for each 128 inputs"
assert set(_STORED_AS) == set(SCALED_FORMATS)
