"""Scans that take row after row, and what is beside them, in the shapes of real models."""

from engine.kernels.triton import conv, delta, delta_chunks, rwkv, selective_scan
from offline_builds import Build

LAYOUT = ("query_starts_at", "reads_at", "writes_at")
WIDE = ("state_at", "a_at", "d_at", "dt_bias_at", "weight_at", "bias_at", "bonus_at", "factors_at")
WIDE += ("factor_at", "decay_at", "decays_at", "scores_at", "solved_at")


def build(kernel, name, constants, dtype="bf16", wide=WIDE, **more) -> Build:
    """Pointers are of float32 where `wide` has them, else of `dtype`; all strides are aligned."""
    kinds = {}
    for each in kernel.arg_names:
        if each in LAYOUT:
            kinds[each] = "*i64"
        elif each.endswith("_at"):
            kinds[each] = "*fp32" if each in wide else f"*{dtype}"
        elif not each.isupper():
            kinds[each] = "fp32" if each in {"scale", "max_beta"} else "i32"
    aligned = tuple(each for each, kind in kinds.items() if kind == "i32")
    return Build(name, kernel, kinds, constants, aligned=aligned, **more)


def conv_build(name, rows, dtype="bf16", *, taps=4, **more) -> Build:
    tile = {"ROWS": rows, "CHANNELS": conv.channels_of(rows), "HISTORY": 4 if taps == 4 else 2}
    constants = {"TAPS": taps, **tile, "HAS_BIAS": True}
    return build(conv._conv_kernel, name, constants, dtype, num_warps=4, **more)


def shift_build(name, rows) -> Build:
    return build(conv._shift_kernel, name, {"ROWS": rows, "COLUMNS": conv.COLUMNS})


def selective_build(name, dtype="bf16", **more) -> Build:
    constants = {"SIZE": 16, "NUMBERS": 16, "CHANNELS": selective_scan.CHANNELS}
    return build(selective_scan._selective_kernel, name, constants, dtype, num_warps=1, **more)


def delta_build(name, *, key_heads=16, heads=32, dims=(128, 128), by_channel=False, **more):
    constants = {
        "HEADS": heads,
        "KEY_HEADS": key_heads,
        "KEY_DIM": dims[0],
        "VALUE_DIM": dims[1],
        "IS_TILED": False,
        "BY_CHANNEL": by_channel,
        "KEYS": 1 << (dims[0] - 1).bit_length(),
        "COLUMNS": delta.columns_of(dims[0]),
        "MOST_ROWS": 16,
    }
    return build(delta._delta_kernel, name, constants, "fp32", num_warps=1, **more)


def delta_chunks_build(kernel, name, dtype="fp32", *, dims=(128, 128), **more) -> Build:
    constants = {
        "HEADS": 32,
        "KEY_HEADS": 16,
        "KEY_DIM": dims[0],
        "VALUE_DIM": dims[1],
        "IS_TILED": False,
        "KEYS": 128,
        "COLUMNS": delta_chunks.COLUMNS,
        "LEAST_ROWS": 17,
        "CHUNK": delta_chunks.CHUNK,
    }
    own = {each: value for each, value in constants.items() if each in kernel.arg_names}
    return build(kernel, name, own, dtype, tensor_cores=True, **more)


def rwkv_build(kernel, name, dtype="bf16", **more) -> Build:
    constants = {"HEADS": 64, "KEY_DIM": 64, "VALUE_DIM": 64, "KEYS": 64, "COLUMNS": rwkv.COLUMNS}
    return build(kernel, name, constants, dtype, num_warps=1, **more)


BUILDS = [
    conv_build("conv decode", 1, vector_loads=False, quick=True),
    conv_build("conv prefill", 16),
    conv_build("conv prefill f32", 16, "fp32"),
    conv_build("conv decode of 3", 1, taps=3, vector_loads=False),
    conv_build("conv prefill of 3", 16, taps=3),
    shift_build("shift decode", 1),
    shift_build("shift prefill", 16),
    selective_build("selective scan", quick=True),
    selective_build("selective scan f32", "fp32"),
    delta_build("delta rule", quick=True),
    delta_build("delta rule by channel", by_channel=True, key_heads=32),
    delta_build("delta rule 96x192", dims=(96, 192)),
    delta_build("delta rule 256x256", dims=(256, 256)),
    delta_chunks_build(delta_chunks._systems_kernel, "delta systems"),
    delta_chunks_build(delta_chunks._systems_kernel, "delta systems bf16", "bf16"),
    delta_chunks_build(delta_chunks._carry_kernel, "delta chunks", num_warps=8, num_stages=2),
    delta_chunks_build(
        delta_chunks._carry_kernel, "delta chunks bf16", "bf16", num_warps=8, num_stages=2
    ),
    delta_chunks_build(
        delta_chunks._carry_kernel, "delta chunks 96x192", dims=(96, 192), num_warps=8, num_stages=2
    ),
    rwkv_build(rwkv._rwkv6_kernel, "rwkv6"),
    rwkv_build(rwkv._rwkv7_kernel, "rwkv7"),
    rwkv_build(rwkv._rwkv7_kernel, "rwkv7 f32", "fp32"),
    build(
        rwkv._bonus_kernel,
        "rwkv7 bonus",
        {"HEADS": 64, "KEY_DIM": 64, "VALUE_DIM": 64, "KEYS": 64, "VALUES": 64},
        num_warps=1,
        vector_loads=False,
    ),
    build(
        delta._log_decay_kernel,
        "log decay by channel",
        {"PER_HEAD": 128, "BLOCK": 1024},
        wide=(*WIDE, "out_at"),
    ),
]
