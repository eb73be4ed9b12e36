"""Heads' own matrices of latent attention: DeepSeek-V3's, joined, and as GGUF has them, apart."""

from triton import language as tl

from engine.kernels.plane_layouts import planes_row_bytes
from engine.kernels.triton import heads
from offline_builds import Build

HEADS, RANK, NOPE, VALUE = 128, 512, 128, 128

PRODUCTS = {
    "keys": (NOPE + VALUE, 0, NOPE, RANK, True),
    "values": (NOPE + VALUE, NOPE, VALUE, RANK, False),
    "keys_apart": (RANK, 0, RANK, NOPE, False),
}
"""Rows of a head's, the first and the number of those multiplied with, their columns, transposed."""


def build(name, weight_format, rows, *, quick=False):
    per_head, first, count, columns, transposed = PRODUCTS[name]
    is_dense = weight_format == "dense"
    blocks = heads.head_blocks(rows, count if transposed else columns)
    warps = blocks.pop("num_warps")
    short = weight_format.removeprefix("planes:").lower()
    return Build(
        f"head_linear_{name}_{short}_{rows}",
        heads._head_linear_kernel,
        {
            "x_at": "*bf16",
            "weight_at": "*bf16" if is_dense else "*u8",
            "out_at": "*bf16",
            "num_rows": "i32",
            "x_row_stride": "i32",
            "x_head_stride": "i32",
        },
        {
            "HEADS": HEADS,
            "ROWS_PER_HEAD": per_head,
            "FIRST": first,
            "COUNT": count,
            "K": columns,
            "STRIDE": columns if is_dense else planes_row_bytes(weight_format, columns),
            "FORMAT": weight_format,
            "TRANSPOSED": transposed,
            "DTYPE": tl.bfloat16,
            "UPCAST": False,
            **blocks,
        },
        aligned=("x_row_stride", "x_head_stride"),
        num_warps=warps,
        tensor_cores=True,
        quick=quick,
    )


BUILDS = [
    build(name, weight_format, rows, quick=(name, weight_format, rows) == ("keys", "dense", 1))
    for name in PRODUCTS
    for weight_format in ("dense", "planes:F8", "planes:Q8_0")
    for rows in (1, 512)
]
