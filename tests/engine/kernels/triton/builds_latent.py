"""Attention to latents, and its indexer, of models that are."""

from engine.kernels.triton.indexer import all_kernel, worth_kernel
from engine.kernels.triton.latent import latent_kernel, latent_tile
from offline_builds import Build

LAYOUT = {"query_starts": "*i64", "context_lens": "*i64"}


def padded(dim):
    return max(16, 1 << (dim - 1).bit_length())


def latents(name, heads, rows, *, dim=576, value_dim=512, chosen=0, splits=1, **more):
    tile = latent_tile(heads, rows, chooses=bool(chosen))
    signature = {
        "q": "*bf16", "latents": "*bf16", "out": "*fp32" if splits > 1 else "*bf16", "lse": "*fp32",
        **LAYOUT, "block_tables": "*i64", "num_sequences": "i32", "table_row": "i32",
        "q_row": "i32", "q_head": "i32", "slot_size": "i32", "scale": "fp32",
        **({"chosen": "*i64"} if chosen else {}),
    }  # fmt: skip
    constants = {
        "NUM_HEADS": heads, "HEADS": tile.heads, "DIM": dim, "VALUE_DIM": value_dim,
        "VALUE_PAD": padded(value_dim), "REST_PAD": padded(dim - value_dim), "CHOSEN": chosen,
        "BLOCK_M": tile.block_m, "BLOCK_Q": tile.block_q, "BLOCK_N": tile.block_n, "BLOCK_SIZE": 16,
        "SPLITS": splits, "SINGLES": "only" if rows == 1 else "skipped", "UPCAST": False,
        **({} if chosen else {"chosen": None}),
    }  # fmt: skip
    return Build(
        f"latents {name}", latent_kernel, signature, constants,
        aligned=("q_row", "q_head", "slot_size"), num_warps=tile.num_warps,
        num_stages=tile.num_stages, tensor_cores=True, **more,
    )  # fmt: skip


WORTH = {
    "q": "*bf16", "weights": "*bf16", "keys": "*bf16", "worth": "*fp32", **LAYOUT,
    "block_tables": "*i64", "num_sequences": "i32", "table_row": "i32", "from_row": "i32",
    "to_row": "i32", "longest": "i32", "q_row": "i32", "q_head": "i32", "weights_row": "i32",
    "slot_size": "i32",
}  # fmt: skip


def worth(name, singles, rows, **more):
    constants = {
        "HEADS": 64, "DIM": 128, "HEADS_PAD": 64, "DIM_PAD": 128, "BLOCK_Q": rows, "BLOCK_N": 64,
        "BLOCK_SIZE": 16, "SINGLES": singles, "UPCAST": False,
    }  # fmt: skip
    strides = ("q_row", "q_head", "weights_row", "slot_size")
    return Build(
        f"worth {name}", worth_kernel, WORTH, constants, aligned=strides, tensor_cores=True
    )


BUILDS = [
    latents("deepseek v3 decode", 128, 1, splits=8),
    latents("deepseek v3 prompt", 128, 512),
    latents("deepseek v3.2 chosen", 128, 512, chosen=2048),
    latents("deepseek v3.2 decode", 128, 1, chosen=2048, splits=8),
    latents("deepseek v2 lite decode", 16, 1, splits=16),
    latents("deepseek v2 lite prompt", 16, 512),
    latents("minicpm3 decode", 40, 1, dim=288, value_dim=256),
    latents("minicpm3 prompt", 40, 512, dim=288, value_dim=256),
    worth("decode", "only", 1, quick=True),
    worth("prompt", "too", 16),
    Build(
        "all that is there",
        all_kernel,
        {"chosen": "*i64", **LAYOUT, "num_sequences": "i32"},
        {"TOP_K": 2048, "BLOCK_Q": 16, "BLOCK": 1024, "SINGLES": "too"},
        vector_loads=False,
    ),
]
