"""Mamba-2's scan and Lightning attention: rows one by one, and in chunks.

Of Codestral (128 heads of 64, 128 numbers), of Falcon-H1 (256), of Bamba, and of MiniMax (64 heads of 128).
"""

from engine.kernels.triton import chunks, linear_attention, ssd
from offline_builds import Build

LAYOUT = dict.fromkeys(("query_starts_at", "reads_at", "writes_at"), "*i64")
STRIDES = ("x_stride", "dt_stride", "b_stride", "c_stride", "slot_stride")
SCRATCH = dict.fromkeys(("scores_at", "decays_at"), "*fp32")
FEW, MORE = {"MOST_ROWS": 16}, {"LEAST_ROWS": 17}


def ssd_signature(dtype: str) -> dict[str, str]:
    return {
        **dict.fromkeys(("x_at", "dt_at", "b_at", "c_at", "out_at"), f"*{dtype}"),
        **dict.fromkeys(("a_at", "d_at", "dt_bias_at", "state_at"), "*fp32"),
        **LAYOUT,
        **SCRATCH,
        **dict.fromkeys(STRIDES, "i32"),
        **dict.fromkeys(("least", "most"), "fp32"),
    }


def build(kernel, name, signature, constants, aligned, **more) -> Build:
    own = {each: kind for each, kind in signature.items() if each in kernel.arg_names}
    aligned = tuple(each for each in aligned if each in kernel.arg_names)
    return Build(name, kernel, own, constants, aligned=aligned, **more)


def ssd_rows(name, dtype="bf16", *, dim=64, size=128, **more) -> Build:
    constants = {
        "HEADS": 128,
        "PER_GROUP": 16,
        "DIM": dim,
        "SIZE": size,
        "DIMS": ssd.DIMS,
        "NUMBERS": size,
        **FEW,
    }
    signature = ssd_signature(dtype)
    return build(ssd._ssd_kernel, name, signature, constants, STRIDES, num_warps=2, **more)


def ssd_scores(name, *, size=128, **more) -> Build:
    constants = {
        "HEADS": 128,
        "PER_GROUP": 16,
        "SIZE": size,
        "NUMBERS": size,
        **MORE,
        "CHUNK": chunks.CHUNK,
    }
    more = {"num_warps": 8, "tensor_cores": True, **more}
    return build(ssd._scores_kernel, name, ssd_signature("bf16"), constants, STRIDES, **more)


def carried(name, *, size=128, dim=64, keys_first=False, has_skip=True, **more) -> Build:
    strides = ("q_stride", "k_stride", "v_stride", "slot_stride")
    signature = {
        **dict.fromkeys(("q_at", "k_at", "v_at", "out_at"), "*bf16"),
        **dict.fromkeys(("skip_at", "state_at"), "*fp32"),
        **LAYOUT,
        **SCRATCH,
        **dict.fromkeys(strides, "i32"),
    }
    tile = chunks.carry_config(size)
    warps, stages = tile.pop("num_warps"), tile.pop("num_stages")
    constants = {
        "HEADS": 128,
        "PER_GROUP": 16,
        "KEY_WIDTH": size,
        "VALUE_WIDTH": dim,
        "SIZE": size,
        "DIM": dim,
        "KEYS_FIRST": keys_first,
        "HAS_SKIP": has_skip,
        **MORE,
        **tile,
        "CHUNK": chunks.CHUNK,
    }
    if not has_skip:
        constants["skip_at"] = None
    more = {"num_warps": warps, "num_stages": stages, "tensor_cores": True, **more}
    return build(chunks._carry_kernel, name, signature, constants, strides, **more)


def lightning(kernel, name, constants, dtype="bf16", **more) -> Build:
    signature = {
        **dict.fromkeys(("qkv_at", "out_at"), f"*{dtype}"),
        **dict.fromkeys(("slopes_at", "state_at"), "*fp32"),
        **LAYOUT,
        **SCRATCH,
        "qkv_stride": "i32",
        "slot_stride": "i32",
    }
    constants = {"HEADS": 64, "DIM": 128, "KEYS": 128, **constants}
    return build(kernel, name, signature, constants, ("qkv_stride", "slot_stride"), **more)


COLUMNS = {"COLUMNS": linear_attention.COLUMNS}

BUILDS = [
    ssd_rows("ssd rows", quick=True),
    ssd_rows("ssd rows f32", "fp32"),
    ssd_rows("ssd rows 64x256", size=256),
    ssd_rows("ssd rows 80x16", dim=80, size=16),
    ssd_scores("ssd scores"),
    ssd_scores("ssd scores 256", size=256),
    carried("ssd chunks"),
    carried("ssd chunks 64x256", size=256),
    carried("ssd chunks 80x16", dim=80, size=16),
    carried("lightning chunks", dim=128, keys_first=True, has_skip=False),
    lightning(linear_attention._linear_kernel, "lightning", {**COLUMNS, **FEW}, num_warps=2),
    lightning(
        linear_attention._linear_kernel, "lightning f32", {**COLUMNS, **FEW}, "fp32", num_warps=2
    ),
    lightning(
        linear_attention._scores_kernel,
        "lightning scores",
        {**MORE, "CHUNK": chunks.CHUNK},
        num_warps=8,
        tensor_cores=True,
    ),
]
