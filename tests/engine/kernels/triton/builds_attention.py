"""Attention of models that are, in the tiles that they are served with."""

from engine.kernels.triton import kept
from engine.kernels.triton.attention import attention_kernel, tile_for
from engine.kernels.triton.launches import combine_kernel
from offline_builds import Build

TYPES = {
    "q": "*bf16", "out": "*bf16", "lse": "*fp32", "query_starts": "*i64",
    "context_lens": "*i64", "block_tables": "*i64", "sinks": "*fp32", "alibi": "*fp32",
    "num_sequences": "i32", "table_row": "i32", "q_row": "i32", "q_head": "i32",
    "key_slot": "i32", "key_head": "i32", "value_slot": "i32", "value_head": "i32", "scale": "fp32",
}  # fmt: skip
STRIDES = ("q_row", "q_head", "key_slot", "key_head", "value_slot", "value_head")


def padded(dim):
    return max(16, 1 << (dim - 1).bit_length())


def attention(*model, architectures=(80, 90), **more):
    return [one_attention(*model, architecture=each, **more) for each in architectures]


def one_attention(
    name, heads, kv_heads, dim, rows, *, value_dim=None, window=None, softcap=None, sinks=False,
    alibi=False, splits=1, form=kept.DENSE, singles="too", encodes=False, reach=None, kind="bf16",
    architecture=90, **more,
):  # fmt: skip
    """rows: the longest query, 0 for unknown."""
    shared, value_dim = heads // kv_heads, value_dim or dim
    widest = max(padded(dim), padded(value_dim))
    tile = tile_for(shared, rows, widest, architecture, is_packed=form != kept.DENSE)
    cache = "*u8" if form != kept.DENSE else f"*{kind}"
    before = reach if encodes else (None if window is None else window - 1)
    absent = ["sinks"] * (not sinks) + ["alibi"] * (not alibi) + ["block_tables"] * encodes
    constants = {
        **dict.fromkeys(absent), "NUM_HEADS": heads, "SHARED": shared, "HEADS": tile.heads,
        "KEY_DIM": dim, "VALUE_DIM": value_dim, "KEY_PAD": padded(dim), "VALUE_PAD": padded(value_dim),
        "BLOCK_M": tile.block_m, "BLOCK_Q": tile.block_q, "BLOCK_N": tile.block_n,
        "BLOCK_SIZE": 1 if encodes else 16, "BEFORE": before, "AFTER": reach if encodes else 0,
        "SOFTCAP": softcap, "SPLITS": splits, "SINGLES": "only" if rows == 1 else singles,
        "FORMAT": form, "UPCAST": False,
    }  # fmt: skip
    types = {**TYPES, "q": f"*{kind}", "out": "*fp32" if splits > 1 else f"*{kind}"}
    return Build(
        f"attention {name}",
        attention_kernel,
        {**{k: t for k, t in types.items() if k not in absent}, "keys": cache, "values": cache},
        constants,
        aligned=STRIDES,
        architectures=(architecture,),
        num_warps=tile.num_warps,
        num_stages=tile.num_stages,
        tensor_cores=True,
        **more,
    )


def combination(name, heads, dim, splits, *, sinks=False, singles=False):
    signature = {"parts": "*fp32", "lse": "*fp32", "out": "*bf16", "query_starts": "*i64"}
    signature["sinks"] = "*fp32"
    absent = ["sinks"] * (not sinks) + ["query_starts"] * (not singles)
    sizes = {"NUM_HEADS": heads, "VALUE_DIM": dim, "SPLITS": splits, "BLOCK": min(128, padded(dim))}
    return Build(
        f"combine {name}",
        combine_kernel,
        {k: t for k, t in signature.items() if k not in absent},
        {**dict.fromkeys(absent), **sizes},
    )


F8, HAND, Q8 = kept.F8, kept.F8_BY_HAND, kept.Q8
LLAMA, QWEN2, GEMMA, GPT_OSS = (32, 8, 128), (28, 4, 128), (16, 8, 256), (64, 8, 64)
BUILDS = [
    *attention("llama decode", *LLAMA, 1),
    *attention("llama decode in parts", *LLAMA, 1, splits=16, quick=True),
    *attention("llama verify", *LLAMA, 5, splits=8),
    *attention("llama prompt", *LLAMA, 512),
    *attention("llama unknown", *LLAMA, 0, singles="skipped"),
    *attention("llama f16", *LLAMA, 512, kind="fp16"),
    *attention("llama decode f8", *LLAMA, 1, splits=16, form=F8, architectures=(90,)),
    *attention("llama prompt f8", *LLAMA, 512, form=F8, architectures=(90,)),
    *attention("llama decode f8 by hand", *LLAMA, 1, splits=16, form=HAND, architectures=(80,)),
    *attention("llama prompt f8 by hand", *LLAMA, 512, form=HAND, architectures=(80,)),
    *attention("llama decode q8", *LLAMA, 1, splits=16, form=Q8, vector_loads=False),
    *attention("llama prompt q8", *LLAMA, 512, form=Q8, vector_loads=False),
    *attention("qwen2 decode", *QWEN2, 1, splits=32),
    *attention("qwen2 prompt", *QWEN2, 512),
    *attention("gemma2 decode", *GEMMA, 1, window=4096, softcap=50.0),
    *attention("gemma2 prompt", *GEMMA, 512, window=4096, softcap=50.0),
    *attention("gemma2 prompt f8", *GEMMA, 512, softcap=50.0, form=F8, architectures=(90,)),
    *attention("gpt-oss decode", *GPT_OSS, 1, window=128, sinks=True),
    *attention("gpt-oss decode in parts", *GPT_OSS, 1, sinks=True, splits=16),
    *attention("gpt-oss prompt", *GPT_OSS, 512, window=128, sinks=True, singles="skipped"),
    *attention("phi d80 decode", 32, 32, 80, 1),
    *attention("phi d96 prompt", 32, 32, 96, 512),
    *attention("values differ d192", 128, 128, 192, 512, value_dim=128),
    *attention("values differ d192 decode", 64, 8, 192, 1, value_dim=128, splits=8),
    *attention("mpt decode", 32, 32, 128, 1, alibi=True),
    *attention("falcon one cache head", 71, 1, 64, 1, splits=32),
    *attention("falcon prompt", 71, 1, 64, 512),
    *attention("bert", 12, 12, 64, 512, encodes=True),
    *attention("modernbert", 12, 12, 64, 512, encodes=True, reach=64),
    combination("llama", 32, 128, 16),
    combination("gpt-oss", 64, 64, 64, sinks=True, singles=True),
    combination("gemma", 16, 256, 64, singles=True),
    combination("latents", 128, 512, 64),
]
