"""Writing to caches, of models that are."""

from engine.kernels.triton import kept
from engine.kernels.triton.cache import pack_kernel, rope_write_kernel, write_kernel
from offline_builds import Build


def write(name, columns, form=kept.DENSE, *, second=True, **more):
    cache = "*bf16" if form == kept.DENSE else "*u8"
    signature = {
        "x": "*bf16", "y": "*bf16", "cache": cache, "second": cache, "slots": "*i64",
        "x_row": "i32", "y_row": "i32", "slot_size": "i32", "second_size": "i32",
    }  # fmt: skip
    constants = {
        "COLUMNS": columns, "SECOND_COLUMNS": columns, "BLOCK": 1024, "FORMAT": form,
        **({} if second else {"y": None, "second": None}),
    }  # fmt: skip
    strides = ("x_row", "y_row", "slot_size", "second_size")
    return Build(f"write {name}", write_kernel, signature, constants, aligned=strides, **more)


def rope_write(name, heads, kv_heads, dim, half, form=kept.DENSE, **more):
    cache = "*bf16" if form == kept.DENSE else "*u8"
    strides = (
        "q_row", "q_head", "k_row", "k_head", "v_row", "v_head", "key_slot", "key_head",
        "value_slot", "value_head",
    )  # fmt: skip
    signature = {
        **dict.fromkeys(("q", "k", "v", "turned"), "*bf16"), "table": "*fp32", "keys": cache,
        "values": cache, "slots": "*i64", **dict.fromkeys(strides, "i32"),
    }  # fmt: skip
    constants = {
        "HEADS": heads, "KV_HEADS": kv_heads, "HALF": half, "DIM": dim, "VALUE_DIM": dim,
        "HALF_PAD": 1 << (half - 1).bit_length(), "VALUE_PAD": 1 << (dim - 1).bit_length(),
        "REST_PAD": 1 << max(dim - 2 * half - 1, 0).bit_length(), "BLOCK_H": min(8, kv_heads),
        "FORMAT": form,
    }  # fmt: skip
    return Build(
        f"rope and write {name}", rope_write_kernel, signature, constants, aligned=strides, **more
    )


PACK = {
    "x": "*bf16", "y": "*bf16", "cache": "*u8", "second": "*u8", "slots": "*i64",
    "x_row": "i32", "y_row": "i32", "slot_size": "i32", "second_size": "i32",
}  # fmt: skip

BUILDS = [
    write("llama", 1024),
    write("llama f8", 1024, kept.F8),
    write("latents", 576, second=False),
    rope_write("llama", 32, 8, 128, 64, quick=True),
    rope_write("llama f8", 32, 8, 128, 64, kept.F8),
    rope_write("gemma", 16, 8, 256, 128),
    rope_write("phi", 32, 32, 80, 16),
    Build(
        "pack q8_0",
        pack_kernel,
        PACK,
        {"HEADS": 8, "DIM": 128, "SECOND_DIM": 128, "BLOCKS": 32},
        aligned=("x_row", "y_row"),
    ),
]
