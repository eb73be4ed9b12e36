"""Experts' matrices by the rows that go to them, and what is joined of it.

A pair is a row and one of its experts. Where there are no more pairs than experts, most experts have one
row at most: each pair reads its expert's matrix. Otherwise pairs are put in order, and tiles of them read it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, cast

import torch
import triton
from torch import Tensor
from triton import language as tl

from engine.kernels import ops
from engine.kernels.plane_layouts import PLANE_FORMATS, PLANES
from engine.kernels.registry import Kernel
from engine.kernels.triton.base import INTERPRETS, ceil_div
from engine.kernels.triton.expert_order import expert_order
from engine.kernels.triton.expert_pairs import combine_kernel, combined_pairs_kernel, pair_kernel
from engine.kernels.triton.expert_tiles import tile_kernel
from engine.kernels.weight import DENSE, Weight

DTYPES: Mapping[torch.dtype, tl.dtype] = MappingProxyType(
    {torch.float32: tl.float32, torch.bfloat16: tl.bfloat16, torch.float16: tl.float16}
)

FORMATS = frozenset({DENSE, *(PLANES + name for name in PLANE_FORMATS)})


@dataclass(frozen=True, slots=True)
class _Matrices:
    """A stack of matrices, or of gates and the ups that stand beside them."""

    weight: Weight
    bias: Tensor | None
    num_experts: int
    act: str = ""
    up: Weight | None = None
    up_bias: Tensor | None = None
    alpha: float = 0.0
    limit: float = 0.0


def expert_linear(
    x: Tensor, weight: Weight, chosen: Tensor, num_experts: int, bias: Tensor | None = None
) -> Tensor:
    return _product(x, chosen, _Matrices(weight, bias, num_experts))


def gated_experts(
    x: Tensor,
    gate: Weight,
    up: Weight,
    chosen: Tensor,
    num_experts: int,
    act: str,
    gate_bias: Tensor | None = None,
    up_bias: Tensor | None = None,
    alpha: float = 0.0,
    limit: float = 0.0,
) -> Tensor:
    """act(gate(x), up(x)) of each chosen expert, both `expert_linear`: (T, top_k, n).

    act: "silu_mul", "gelu_tanh_mul" or "clamped_swiglu", which alpha and limit belong to. Between the
    products and it nothing is rounded. Both have a bias or none has.
    """
    if not {gate.format, up.format} <= FORMATS:
        products = (
            ops.expert_linear(x, gate, chosen, num_experts, gate_bias),
            ops.expert_linear(x, up, chosen, num_experts, up_bias),
        )
        settings = {"alpha": alpha, "limit": limit} if act == "clamped_swiglu" else {}
        return cast("Tensor", ops.OPS[act](*products, **settings))
    assert (gate_bias is None) == (up_bias is None)
    matrices = _Matrices(gate, gate_bias, num_experts, act, up, up_bias, alpha, limit)
    return _product(x, chosen, matrices)


def _product(x: Tensor, chosen: Tensor, matrices: _Matrices) -> Tensor:
    weight = matrices.weight
    num_columns = weight.shape[0] // matrices.num_experts
    out = torch.empty(*chosen.shape, num_columns, dtype=weight.dtype, device=x.device)
    if not chosen.numel():
        return out
    share = chosen.shape[1] if x.dim() == 2 else 1
    launch = _by_pairs if chosen.numel() <= matrices.num_experts else _by_tiles
    launch(x, chosen, matrices, out, share)
    return out


def _by_pairs(x: Tensor, chosen: Tensor, matrices: _Matrices, out: Tensor, share: int) -> None:
    blocks = pair_blocks(matrices.weight.format, matrices.weight.shape[1])
    pair_kernel[(ceil_div(out.shape[2], blocks["BLOCK_N"]), chosen.numel())](
        x.contiguous(),
        chosen.contiguous(),
        out,
        *_stored(matrices),
        **_constants(matrices),
        X_SHARE=share,
        **blocks,
    )


def _by_tiles(x: Tensor, chosen: Tensor, matrices: _Matrices, out: Tensor, share: int) -> None:
    weight = matrices.weight
    pairs_per_expert = chosen.numel() // matrices.num_experts
    blocks = tile_blocks(weight.shape[1], pairs_per_expert, is_gated=matrices.act != "")
    order = expert_order(chosen, matrices.num_experts, blocks["BLOCK_M"])
    tile_kernel[(len(order.experts) * ceil_div(out.shape[2], blocks["BLOCK_N"]),)](
        x.to(weight.dtype).contiguous(),
        order.pairs,
        order.experts,
        out,
        *_stored(matrices),
        order.num_pairs,
        **_constants(matrices),
        X_SHARE=share,
        DTYPE=DTYPES[weight.dtype],
        UPCAST=INTERPRETS or weight.dtype == torch.float32,
        **blocks,
    )


def _stored(matrices: _Matrices) -> tuple[Any, ...]:
    """Weights, biases and the numbers of the activation, as kernels take them; what is not there, once more."""
    weight, up = matrices.weight.data, (matrices.up or matrices.weight).data
    bias = weight if matrices.bias is None else matrices.bias
    up_bias = bias if matrices.up_bias is None else matrices.up_bias
    return weight, up, bias, up_bias, matrices.alpha, matrices.limit


def _constants(matrices: _Matrices) -> dict[str, Any]:
    weight, up = matrices.weight, matrices.up or matrices.weight
    return {
        "N": weight.shape[0] // matrices.num_experts,
        "K": weight.shape[1],
        "STRIDE": weight.data.stride(0),
        "UP_STRIDE": up.data.stride(0),
        "FORMAT": weight.format,
        "UP_FORMAT": up.format,
        "ACT": matrices.act,
        "HAS_BIAS": matrices.bias is not None,
    }


def pair_blocks(weight_format: str, columns: int) -> dict[str, int]:
    """What one program of `pair_kernel` takes: a warp's, whose lanes have the same columns of all its rows.

    columns: of the matrix.
    """
    if weight_format == DENSE:
        return {"BLOCK_N": 4, "AT_ONCE": 4, "BLOCK_K": _block_k(columns, 512), "num_warps": 1}
    block_k = _block_k(columns, 1024)
    at_once = 1024 // block_k
    return {"BLOCK_N": max(4, at_once), "AT_ONCE": at_once, "BLOCK_K": block_k, "num_warps": 1}


def combined_blocks(weight_format: str, columns: int, top_k: int) -> dict[str, int]:
    """Of `combined_pairs_kernel`: it asks for the next experts' rows while it waits for one's."""
    return {"UNROLL": min(4, top_k), **pair_blocks(weight_format, columns)}


def tile_blocks(columns: int, pairs_per_expert: int, *, is_gated: bool) -> dict[str, int]:
    """Of `tile_kernel`: as many rows as an expert has on average."""
    rows = min(128, max(16, triton.next_power_of_2(pairs_per_expert)))
    is_wide = rows == 128
    return {
        "BLOCK_M": rows,
        "BLOCK_N": 128 if is_wide and not is_gated else 64,
        "BLOCK_K": _block_k(columns, 64),
        "num_warps": 8 if is_wide else 4,
        "num_stages": 3,
    }


def _block_k(columns: int, most: int) -> int:
    return max(32, min(most, 1 << (columns - 1).bit_length()))


def combined_experts(
    h: Tensor,
    down: Weight,
    chosen: Tensor,
    weights: Tensor,
    num_experts: int,
    bias: Tensor | None = None,
) -> Tensor:
    """`combine_experts` of the `expert_linear` of h (T, top_k, in): (T, n) float32."""
    if chosen.numel() > num_experts:
        return combine_experts(expert_linear(h, down, chosen, num_experts, bias), weights)
    num_columns, top_k = down.shape[0] // num_experts, chosen.shape[1]
    out = torch.empty(len(h), num_columns, dtype=torch.float32, device=h.device)
    if not len(h):
        return out
    blocks = combined_blocks(down.format, down.shape[1], top_k)
    combined_pairs_kernel[(ceil_div(num_columns, blocks["BLOCK_N"]), len(h))](
        h.contiguous(),
        chosen.contiguous(),
        weights.contiguous(),
        out,
        down.data,
        down.data if bias is None else bias,
        N=num_columns,
        K=down.shape[1],
        STRIDE=down.data.stride(0),
        TOP_K=top_k,
        FORMAT=down.format,
        HAS_BIAS=bias is not None,
        **blocks,
    )
    return out


def combine_experts(outputs: Tensor, weights: Tensor) -> Tensor:
    rows, top_k, num_columns = outputs.shape
    out = torch.empty(rows, num_columns, dtype=torch.float32, device=outputs.device)
    if not rows:
        return out
    block = min(1024, triton.next_power_of_2(num_columns))
    combine_kernel[(rows, ceil_div(num_columns, block))](
        outputs.contiguous(), weights.contiguous(), out, N=num_columns, TOP_K=top_k, BLOCK_N=block
    )
    return out


KERNELS: dict[str, Kernel] = {
    "combine_experts": combine_experts,
    "gated_experts": gated_experts,  # of two formats
}

WEIGHT_KERNELS: dict[tuple[str, str], Kernel] = {
    (op, weight_format): kernel
    for weight_format in FORMATS
    for op, kernel in (
        ("expert_linear", expert_linear),
        ("gated_experts", gated_experts),
        ("combined_experts", combined_experts),
    )
}
