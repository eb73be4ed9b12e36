"""Kernels of matrices in all formats: GEMV with 16-byte loads, GEMM on tensor cores."""

from triton import language as tl

from engine.kernels.plane_layouts import PLANE_FORMATS, PLANES, plane_format
from engine.kernels.triton.gemm import embedding_kernel, gemm_kernel, join_kernel, unpack_kernel
from engine.kernels.triton.gemv import gemv_kernel
from engine.kernels.triton.matrix_blocks import tiles, vectors
from offline_builds import Build

FORMATS = tuple(PLANES + name for name in PLANE_FORMATS)
DENSE = "dense"
QUICK = "planes:Q4_K"

_SIZES = {"M": "i32", "n0": "i32", "n1": "i32", "n2": "i32", "K": "i32"}
_STRIDES = {"x_stride": "i32", "row_stride": "i32"}


def _stored(format_name: str) -> str:
    return "*bf16" if format_name == DENSE else "*u8"


def gemv(
    format_name: str, tokens: int, rows: int, columns: int, *, segments: int = 1, act: str = "",
    whole: bool = True, x: str = "*fp32", quick: bool = False,
) -> Build:  # fmt: skip
    config = vectors(tokens, rows, columns, dense=format_name == DENSE)
    absent = dict.fromkeys(("b0", "b1", "b2", "addend"))
    signature = {"x": x, "w0": _stored(format_name), "o0": "*bf16", **_SIZES, **_STRIDES}
    for index in range(1, 3):
        for name, kind in (("w", _stored(format_name)), ("o", "*bf16"), ("n", "i32")):
            if index < segments or (act and index == 1 and name == "w"):
                signature[f"{name}{index}"] = kind
            else:
                absent[f"{name}{index}"] = None
    return Build(
        f"gemv {format_name} T{tokens} {rows}x{columns} {segments} {act}",
        gemv_kernel,
        signature,
        absent
        | {
            "FORMAT": format_name, "ACT": act, "T": tokens, "R": config.rows,
            "W": config.rows_at_once, "BLOCK_K": config.block_k, "WHOLE": whole,
        },
        aligned=("K", "x_stride", "row_stride"),
        num_warps=config.num_warps,
        quick=quick,
    )  # fmt: skip


def gemm(
    format_name: str, tokens: int, rows: int = 14336, *, act: str = "", exact: bool = False,
    whole: bool = True, quick: bool = False,
) -> Build:  # fmt: skip
    config = tiles(tokens, rows, 4096, format_name, gated=bool(act), exact=exact)
    absent = dict.fromkeys(("b", "b1", "addend", *(() if act else ("w1",))))
    signature = {
        "x": "*fp32", "w": _stored(format_name), "w1": _stored(format_name),
        "o": "*bf16" if config.parts == 1 else "*fp32", "M": "i32", "n": "i32", "K": "i32", **_STRIDES,
    }  # fmt: skip
    return Build(
        f"gemm {format_name} T{tokens} {rows} {act}{'exact' if exact else ''}",
        gemm_kernel,
        signature,
        absent
        | {
            "FORMAT": format_name, "ACT": act, "EXACT": exact, "DTYPE": tl.bfloat16,
            "PARTS": config.parts, "BLOCK_M": config.block_m, "BLOCK_N": config.block_n, "BLOCK_K": config.block_k,
            "WHOLE": whole, "UPCAST": False,
        },
        aligned=("n", "K", "x_stride", "row_stride"),
        num_warps=config.num_warps,
        num_stages=config.num_stages,
        vector_loads=4 in plane_format(format_name).bits if format_name != DENSE else True,
        tensor_cores=True,
        quick=quick,
    )  # fmt: skip


def rows_of(kernel, name: str, format_name: str) -> Build:
    constants = {"FORMAT": format_name, "R": 32, "BLOCK_K": 128, "WHOLE": True}
    pointers = {"w": "*u8", "o": "*bf16", "ids": "*i64"}
    names = {"n": "i32", "K": "i32", "row_stride": "i32"}
    arguments = kernel.arg_names
    return Build(
        f"{name} {format_name}",
        kernel,
        {key: kind for key, kind in (pointers | names).items() if key in arguments},
        {key: value for key, value in constants.items() if key in arguments},
        aligned=("K", "row_stride"),
        vector_loads=False,
    )


JOIN = Build(
    "join silu_mul",
    join_kernel,
    {"parts": "*fp32", "o": "*bf16", "M": "i32", "n": "i32"},
    dict.fromkeys(("b", "b1", "addend")) | {"ACT": "silu_mul", "PARTS": 4, "BLOCK_N": 512},
    aligned=("n",),
)

BUILDS = [
    gemv(QUICK, 1, 4096, 4096, quick=True),
    gemm(QUICK, 16, 4096, quick=True),
    *(gemv(name, 1, 4096, 4096) for name in FORMATS if name != QUICK),
    *(gemv(name, 2, 14336, 4096) for name in FORMATS),
    *(gemv(name, 1, 2880, 2880, whole=False) for name in (QUICK, "planes:MXFP4", "planes:F8")),
    *(gemv(DENSE, tokens, 4096, 4096) for tokens in (1, 2, 4, 8)),
    *(gemv(name, 1, 6144, 4096, segments=3) for name in (DENSE, QUICK)),
    *(gemv(name, 1, 14336, 4096, act="silu_mul") for name in (DENSE, QUICK, "planes:MXFP4")),
    *(gemv(name, 1, 128256, 4096, x="*bf16") for name in (DENSE, QUICK, "planes:Q6_K")),
    *(gemm(name, tokens) for name in FORMATS for tokens in (16, 256)),
    *(gemm(name, 64) for name in (QUICK, "planes:Q6_K", "planes:MXFP4", "planes:F8")),
    *(
        gemm(name, tokens, act="silu_mul")
        for name in (QUICK, "planes:MXFP4")
        for tokens in (16, 64, 256)
    ),
    *(gemm(name, 64, exact=True) for name in (DENSE, QUICK, "planes:Q6_K", "planes:Q8_0")),
    *(gemm(name, 64, whole=False) for name in (QUICK, "planes:MXFP4", "planes:F8")),
    JOIN,
    *(rows_of(unpack_kernel, "unpack", name) for name in FORMATS),
    *(rows_of(embedding_kernel, "embedding", name) for name in FORMATS),
]
