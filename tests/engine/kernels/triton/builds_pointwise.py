"""Builds of elementwise ops, norms, positions and streams."""

from typing import Any

from engine.kernels.triton import elementwise, norms, rope, streams
from offline_builds import Build

NARROW, WIDE = "*bf16", "*fp32"


def pointwise(op: str, columns: int, x: str, y: str, out: str, **more: Any) -> Build:
    kinds = {"x": x, "y": y, "z": WIDE, "out": out, "units": "i32", "a": "fp32", "b": "fp32"}
    strides = dict.fromkeys(("x_stride", "y_stride", "z_stride"), "i32")
    constants = {
        "OP": op,
        "BINARY": op not in {"relu_squared", "softcap"},
        "COLUMNS": columns,
        "UNIT": 16,
        "Y_STEP": 1,
        "Z_STEP": 1,
        "BLOCK": 1024,
    }
    return Build(
        f"{op} of {columns or 'all'}",
        elementwise._pointwise,
        {**kinds, **strides},
        constants,
        aligned=tuple(strides),
        max_registers=64,
        **more,
    )


def normed(name: str, kernel, kinds: dict[str, str], columns: int, rows: int, **more: Any) -> Build:
    config = norms.tile(rows, columns)
    strides = {
        each: "i32" for each in ("outer", "inner", "y_outer", "y_inner") if each in kernel.arg_names
    }
    flags = {key: value for key, value in more.items() if key.isupper()}
    return Build(
        f"{name} of {columns}",
        kernel,
        {**kinds, **strides, "rows": "i32", "eps": "fp32", "deviations": "fp32"},
        {
            "N": columns,
            "HEADS": flags.pop("HEADS", 1),
            "ROWS": config["ROWS"],
            "BLOCK": config["BLOCK"],
            **flags,
        },
        aligned=tuple(strides),
        num_warps=config["num_warps"],
        max_registers=128,
        **{key: value for key, value in more.items() if not key.isupper()},
    )


RMS = {"x": WIDE, "y": NARROW, "weight": WIDE, "total": WIDE, "out": WIDE}
RMS_NARROW = {**RMS, "x": NARROW, "out": NARROW}
LAYER = {"x": WIDE, "weight": WIDE, "bias": WIDE, "out": WIDE}
PLAIN = {"ADDS": False, "MEAN": True, "WEIGHTED": True}
FULL = {"ADDS": True, "MEAN": True, "WEIGHTED": True}
LEARNED = {"OF_HEADS": False, "WEIGHTED": True, "BIASED": True}

BUILDS = [
    pointwise("silu_mul", 0, NARROW, NARROW, NARROW, quick=True),
    pointwise("silu_mul", 14336, NARROW, NARROW, NARROW),
    pointwise("silu_mul", 14336, WIDE, NARROW, WIDE),
    pointwise("gelu_tanh_mul", 0, NARROW, NARROW, NARROW),
    pointwise("clamped_swiglu", 2880, NARROW, NARROW, NARROW),
    pointwise("sigmoid_mul", 0, NARROW, NARROW, NARROW),
    pointwise("relu_squared", 0, NARROW, NARROW, NARROW),
    pointwise("lerp", 4096, NARROW, NARROW, NARROW),
    pointwise("mul", 4096, NARROW, WIDE, NARROW),
    pointwise("softcap", 0, WIDE, WIDE, WIDE),
    normed("add_rms_norm", norms._rms_norm, RMS, 4096, 1, **FULL, quick=True),
    normed("add_rms_norm", norms._rms_norm, RMS, 16384, 64, **FULL),
    normed("add_rms_norm", norms._rms_norm, RMS, 2880, 64, **FULL),
    normed("rms_norm", norms._rms_norm, RMS, 4096, 512, **PLAIN),
    # 32 heads of a row, among the columns of a product
    normed("rms_norm", norms._rms_norm, RMS_NARROW, 128, 32, **PLAIN, HEADS=32),
    normed("rms_norm", norms._rms_norm, RMS_NARROW, 64, 512, **PLAIN, HEADS=8),
    normed("l2_norm", norms._rms_norm, RMS_NARROW, 256, 64, ADDS=False, MEAN=False, WEIGHTED=False),
    normed("layer_norm", norms._layer_norm, LAYER, 4096, 64, **LEARNED),
    normed(
        "layer_norm", norms._layer_norm, LAYER, 64, 64, **LEARNED | {"OF_HEADS": True}, HEADS=32
    ),
    normed("sparsify", norms._sparsify, {"x": NARROW, "out": NARROW}, 16384, 8),
    *(
        Build(
            f"rope of {width}",
            rope._rope,
            {"x": NARROW, "table": WIDE, "out": NARROW, "outer": "i32", "inner": "i32"},
            {
                "HEADS": 32,
                "D": width,
                "HALF": half,
                "ROWS": max(1, rope.TILE // (2 * half)),
                "BLOCK": half,
                "REST": width - 2 * half,
            },
            aligned=("outer", "inner"),
            max_registers=96,
            quick=width == 128,
        )
        for width, half in ((64, 32), (128, 64), (256, 128), (128, 32), (256, 64))
    ),
    Build(
        "rope_table",
        rope._table,
        {
            "positions": "*i64",
            "lengths": "*i64",
            "short": WIDE,
            "long": WIDE,
            "out": WIDE,
            "rows": "i32",
            "switch": "i32",
            "short_factor": "fp32",
            "long_factor": "fp32",
        },
        {"N": 64, "SWITCHES": True, "ROWS": 16, "BLOCK": 64},
        max_registers=128,
        vector_loads=False,
        quick=True,
    ),
    Build(
        "scale_by_position",
        rope._scale_by_position,
        {
            "x": NARROW,
            "positions": "*i64",
            "out": NARROW,
            "outer": "i32",
            "inner": "i32",
            "beta": "fp32",
            "period": "i32",
        },
        {"D": 128, "HEADS": 40, "BLOCK": 1024},
        aligned=("outer", "inner"),
    ),
    Build(
        "scale_by",
        elementwise._scale_by,
        {"x": WIDE, "factors": WIDE, "index": "*i64", "out": WIDE},
        {"COLUMNS": 8, "BLOCK": 8},
        num_warps=1,
        vector_loads=False,
    ),
    *(
        Build(
            f"{op}_streams",
            streams._mix,
            {"streams": WIDE, "x": NARROW, "coefficients": WIDE, "out": WIDE, "x_stride": "i32"},
            {"OP": op, "K": 4, "N": 2048, "BLOCK": 512},
            aligned=("x_stride",),
            quick=op == "mix",
        )
        for op in ("mix", "correct", "add")
    ),
    Build(
        "match_rms",
        streams._match_rms,
        {"x": WIDE, "target": WIDE, "out": WIDE, "target_stride": "i32"},
        {"LEAST": 1e-5, "K": 3, "N": 2048, "BLOCK": 2048},
        aligned=("target_stride",),
    ),
    Build(
        "pool_rows",
        streams._pool_means,
        {"x": NARROW, "starts": "*i64", "out": WIDE, "stride": "i32"},
        {"N": 1024, "ROWS": 8, "BLOCK": 256},
        aligned=("stride",),
    ),
]
