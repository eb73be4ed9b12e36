"""Experts of real models: Qwen3-30B-A3B, gpt-oss-20b, DeepSeek-V3; decode and prefill."""

from dataclasses import dataclass

from triton import language as tl

from engine.kernels.plane_layouts import planes_row_bytes
from engine.kernels.triton import expert_order, expert_pairs, expert_tiles, experts
from offline_builds import Build


@dataclass(frozen=True)
class Shape:
    num_experts: int
    top_k: int
    hidden_size: int
    inner_size: int
    act: str
    is_biased: bool = False


SHAPES = {
    "qwen3_30b": Shape(128, 8, 2048, 768, "silu_mul"),
    "gpt_oss_20b": Shape(32, 4, 2880, 2880, "clamped_swiglu", is_biased=True),
    "deepseek_v3": Shape(256, 8, 7168, 2048, "silu_mul"),
}


def signature_of(kernel, is_dense, **others):
    """Of the kernel's arguments, those that are no constants."""
    weight = "*bf16" if is_dense else "*u8"
    known = {
        "weight_at": weight,
        "up_at": weight,
        "bias_at": "*bf16",
        "up_bias_at": "*bf16",
        "out_at": "*bf16",
        "alpha": "fp32",
        "limit": "fp32",
        "num_pairs": "i32",
        **others,
    }
    return {name: known[name] for name in kernel.arg_names if name in known}


def constants(weight_format, columns, shape, *, is_down):
    is_dense = weight_format == "dense"
    return {
        "N": shape.hidden_size if is_down else shape.inner_size,
        "K": columns,
        "STRIDE": columns if is_dense else planes_row_bytes(weight_format, columns),
        "FORMAT": weight_format,
        "HAS_BIAS": shape.is_biased,
    }


def split(blocks):
    warps = blocks.pop("num_warps")
    stages = blocks.pop("num_stages", 3)
    return blocks, {"num_warps": warps, "num_stages": stages}


def gated(name, weight_format, rows, *, quick=False):
    """Gate and up of so many rows."""
    shape = SHAPES[name]
    num_pairs, is_dense = rows * shape.top_k, weight_format == "dense"
    own = constants(weight_format, shape.hidden_size, shape, is_down=False)
    both = own | {
        "UP_STRIDE": own["STRIDE"],
        "UP_FORMAT": weight_format,
        "ACT": shape.act,
        "X_SHARE": shape.top_k,
    }
    short = weight_format.removeprefix("planes:").lower()
    if num_pairs <= shape.num_experts:
        blocks, options = split(experts.pair_blocks(weight_format, shape.hidden_size))
        signature = signature_of(expert_pairs.pair_kernel, is_dense, x_at="*fp32", chosen_at="*i64")
        return Build(
            f"gated_pairs_{name}_{short}", expert_pairs.pair_kernel, signature, both | blocks,
            **options, quick=quick,
        )  # fmt: skip
    average = num_pairs // shape.num_experts
    blocks, options = split(experts.tile_blocks(shape.hidden_size, average, is_gated=True))
    signature = signature_of(
        expert_tiles.tile_kernel, is_dense, x_at="*bf16", pairs_at="*i32", experts_at="*i32"
    )
    return Build(
        f"gated_tiles_{name}_{short}_{blocks['BLOCK_M']}", expert_tiles.tile_kernel, signature,
        both | blocks | {"DTYPE": tl.bfloat16, "UPCAST": False}, **options, quick=quick, tensor_cores=True,
    )  # fmt: skip


def down(name, weight_format, rows):
    """The last product: summed at once where there are few rows."""
    shape = SHAPES[name]
    num_pairs, is_dense = rows * shape.top_k, weight_format == "dense"
    own = constants(weight_format, shape.inner_size, shape, is_down=True)
    short = weight_format.removeprefix("planes:").lower()
    if num_pairs <= shape.num_experts:
        blocks, options = split(
            experts.combined_blocks(weight_format, shape.inner_size, shape.top_k)
        )
        signature = signature_of(
            expert_pairs.combined_pairs_kernel,
            is_dense,
            h_at="*bf16",
            chosen_at="*i64",
            shares_at="*fp32",
            out_at="*fp32",
        )
        return Build(
            f"down_pairs_{name}_{short}", expert_pairs.combined_pairs_kernel,
            signature, own | blocks | {"TOP_K": shape.top_k}, **options,
        )  # fmt: skip
    average = num_pairs // shape.num_experts
    blocks, options = split(experts.tile_blocks(shape.inner_size, average, is_gated=False))
    more = {"UP_STRIDE": 0, "UP_FORMAT": "dense", "ACT": "", "X_SHARE": 1}
    signature = signature_of(
        expert_tiles.tile_kernel, is_dense, x_at="*bf16", pairs_at="*i32", experts_at="*i32"
    )
    return Build(
        f"down_tiles_{name}_{short}_{blocks['BLOCK_M']}", expert_tiles.tile_kernel, signature,
        own | blocks | more | {"DTYPE": tl.bfloat16, "UPCAST": False}, **options, tensor_cores=True,
    )  # fmt: skip


def order(num_pairs):
    blocks, options = split(expert_order.order_blocks(num_pairs))
    return Build(
        f"order_of_{num_pairs}_pairs",
        expert_order._order_kernel,
        {
            "chosen_at": "*i64",
            "pairs_at": "*i32",
            "experts_at": "*i32",
            "num_pairs": "i32",
            "num_tiles": "i32",
        },
        {"E": 256, "ROWS": 16, "BINS": 512} | blocks,
        **options,
        vector_loads=False,
    )


COMBINE = Build(
    "combine_experts",
    expert_pairs.combine_kernel,
    {"outputs_at": "*bf16", "shares_at": "*fp32", "out_at": "*fp32"},
    {"N": 2048, "TOP_K": 8, "BLOCK_N": 1024},
)

QWEN3_FORMATS = ("dense", "planes:Q4_K", "planes:Q6_K", "planes:Q8_0", "planes:F8", "planes:I4_128")

BUILDS = [
    order(512),
    order(16384),
    COMBINE,
    *(
        build
        for weight_format in QWEN3_FORMATS
        for build in (
            gated("qwen3_30b", weight_format, 1, quick=weight_format == "planes:Q4_K"),
            gated("qwen3_30b", weight_format, 64),
            gated("qwen3_30b", weight_format, 2048),
            down("qwen3_30b", weight_format, 1),
            down("qwen3_30b", weight_format, 2048),
        )
    ),
    *(
        build
        for name, weight_format in (("gpt_oss_20b", "planes:MXFP4"), ("deepseek_v3", "planes:F8"))
        for build in (
            gated(name, weight_format, 1),
            gated(name, weight_format, 512),
            down(name, weight_format, 1),
            down(name, weight_format, 512),
        )
    ),
]
