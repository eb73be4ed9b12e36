"""The ops on matrices for dense weights and all formats of planes, and their fused forms."""

from collections.abc import Sequence
from typing import Any

import torch
import triton
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # torch's own name for it
from triton import language as tl

from engine.kernels.plane_layouts import PLANE_FORMATS, PLANES
from engine.kernels.registry import Kernel
from engine.kernels.triton.base import INTERPRETS, ceil_div
from engine.kernels.triton.gemm import embedding_kernel, gemm_kernel, join_kernel, unpack_kernel
from engine.kernels.triton.gemv import gemv_kernel
from engine.kernels.triton.matrix_blocks import block_of, tiles, vectors
from engine.kernels.weight import DENSE, Weight

MOST_VECTORS = 2
"""So many rows of x and fewer are multiplied value by value, more by tensor cores."""

MOST_VECTORS_DENSE = 8

MOST_DECODED_AGAIN = 256
"""For more rows of x a packed matrix is unpacked first, once for all of them."""

UNPACK_ELEMENTS = 8 * 2**20
"""At most so many values of a matrix (or one row) are unpacked at a time: they stay in a GPU's cache."""

SEGMENTS = 3
"""Matrices of one launch, at most."""

_TYPES = {torch.float32: tl.float32, torch.bfloat16: tl.bfloat16, torch.float16: tl.float16}


def embedding(token_ids: Tensor, weight: Weight) -> Tensor:
    columns = weight.shape[1]
    result = torch.empty((len(token_ids), columns), dtype=torch.float32, device=weight.data.device)
    block_k = block_of(columns, 1024, 32)
    if len(token_ids):
        embedding_kernel[len(token_ids), ceil_div(columns, block_k)](
            token_ids.contiguous(), weight.data, result, columns, weight.data.stride(0),
            FORMAT=weight.format, BLOCK_K=block_k, WHOLE=columns % block_k == 0, num_warps=1,
        )  # fmt: skip
    return result


def linear(x: Tensor, weight: Weight, bias: Tensor | None = None) -> Tensor:
    return linears(x, [weight], [bias])[0]


def linears(x: Tensor, weights: list[Weight], biases: list[Tensor | None]) -> list[Tensor]:
    """Products of one x, those of matrices alike in one launch."""
    if not all(_is_known(weight) for weight in weights):
        pairs = zip(weights, biases, strict=True)
        return [weight.kernels["linear"](x, weight, bias) for weight, bias in pairs]
    rows = _rows(x)
    results: list[Tensor] = []
    while len(results) < len(weights):
        begin = len(results)
        end = begin + 1
        while end < min(len(weights), begin + SEGMENTS) and _is_vectors(rows, weights[begin]):
            if not _are_alike(weights[begin], weights[end], biases[begin], biases[end]):
                break
            end += 1
        results += _linears_alike(rows, weights[begin:end], biases[begin:end])
    return [result.view(*x.shape[:-1], result.shape[1]) for result in results]


def linear_add(x: Tensor, weight: Weight, bias: Tensor | None, addend: Tensor) -> Tensor:
    """The sum of addend, (T, out), and `linear`, in addend's dtype."""
    rows = _rows(x)
    if _is_unpacked(rows, weight):
        return addend + linear(x, weight, bias)
    result = torch.empty_like(addend, memory_format=torch.contiguous_format)
    if len(rows):
        _multiply(rows, [weight], [bias], [result], addend=addend.contiguous())
    return result


def gated(
    x: Tensor,
    gate: Weight,
    up: Weight,
    act: str,
    gate_bias: Tensor | None = None,
    up_bias: Tensor | None = None,
) -> Tensor:
    """act, "silu_mul" or "gelu_tanh_mul", of the products by gate and by up: (T, out)."""
    rows = _rows(x)
    if _is_unpacked(rows, gate) or not _are_alike(gate, up, gate_bias, up_bias):
        one, other = linears(x, [gate, up], [gate_bias, up_bias])
        return (F.silu(one) if act == "silu_mul" else F.gelu(one, approximate="tanh")) * other
    result = torch.empty((len(rows), gate.shape[0]), dtype=gate.dtype, device=x.device)
    if len(rows):
        _multiply(rows, [gate, up], [gate_bias, up_bias], [result], act=act)
    return result.view(*x.shape[:-1], result.shape[1])


def logits(x: Tensor, weight: Weight, bias: Tensor | None = None) -> Tensor:
    rows = _rows(x)
    result = torch.empty((len(rows), weight.shape[0]), dtype=torch.float32, device=x.device)
    if len(rows):
        _multiply(rows, [weight], [bias], [result], exact=True)
    return result.view(*x.shape[:-1], weight.shape[0])


def _is_known(weight: Weight) -> bool:
    return weight.format == DENSE or weight.is_planes


def _rows(x: Tensor) -> Tensor:
    return x.contiguous().view(-1, x.shape[-1])


def _are_alike(first: Weight, second: Weight, bias: Tensor | None, other: Tensor | None) -> bool:
    """Whether one launch can multiply by both."""
    return (
        (first.format, first.dtype, first.shape[1])
        == (second.format, second.dtype, second.shape[1])
        and first.data.stride(0) == second.data.stride(0)
        and (bias is None) == (other is None)
        and (bias is None or other is None or bias.dtype == other.dtype)
    )


def _is_vectors(rows: Tensor, weight: Weight) -> bool:
    return len(rows) <= (MOST_VECTORS_DENSE if weight.format == DENSE else MOST_VECTORS)


def _is_unpacked(rows: Tensor, weight: Weight) -> bool:
    """Whether it is torch that multiplies."""
    if not _is_known(weight):
        return True
    if weight.format == DENSE:
        return not _is_vectors(rows, weight)
    return len(rows) > MOST_DECODED_AGAIN


def _linears_alike(
    rows: Tensor, weights: Sequence[Weight], biases: Sequence[Tensor | None]
) -> list[Tensor]:
    if _is_unpacked(rows, weights[0]):
        return [_by_torch(rows, *each) for each in zip(weights, biases, strict=True)]
    results = [
        torch.empty((len(rows), weight.shape[0]), dtype=weight.dtype, device=rows.device)
        for weight in weights
    ]
    if len(rows):
        _multiply(rows, weights, biases, results)
    return results


def _by_torch(rows: Tensor, weight: Weight, bias: Tensor | None) -> Tensor:
    x = rows.to(weight.dtype)
    if weight.format == DENSE:
        return F.linear(x, weight.data, bias)
    num_rows, columns = weight.shape
    result = torch.empty((len(x), num_rows), dtype=weight.dtype, device=x.device)
    step = min(num_rows, max(1, UNPACK_ELEMENTS // columns))
    values = torch.empty((step, columns), dtype=weight.dtype, device=x.device)
    for start in range(0, num_rows, step):
        piece = weight.rows(slice(start, start + step))
        _unpack(piece, values)
        torch.mm(x, values[: piece.shape[0]].t(), out=result[:, start : start + piece.shape[0]])
    return result if bias is None else result.add_(bias)


def _unpack(weight: Weight, values: Tensor) -> None:
    num_rows, columns = weight.shape
    block_k = block_of(columns, 128, 32)
    unpack_kernel[ceil_div(num_rows, 32), ceil_div(columns, block_k)](
        weight.data, values, num_rows, columns, weight.data.stride(0),
        FORMAT=weight.format, R=32, BLOCK_K=block_k, WHOLE=columns % block_k == 0, num_warps=4,
    )  # fmt: skip


def _multiply(
    x: Tensor,
    weights: Sequence[Weight],
    biases: Sequence[Tensor | None],
    results: Sequence[Tensor],
    *,
    act: str = "",
    addend: Tensor | None = None,
    exact: bool = False,
) -> None:
    """Products of x by weights that are alike. exact: as float32, whatever they are."""
    if _is_vectors(x, weights[0]):
        _launch_vectors(x, weights, biases, results, act, addend)
    else:
        _launch_tiles(x, weights, biases, results[0], act, addend, exact=exact)


def _launch_vectors(
    x: Tensor,
    weights: Sequence[Weight],
    biases: Sequence[Tensor | None],
    results: Sequence[Tensor],
    act: str,
    addend: Tensor | None,
) -> None:
    first, columns = weights[0], weights[0].shape[1]
    tokens = triton.next_power_of_2(len(x))
    all_rows = sum(weight.shape[0] for weight in weights)
    config = vectors(tokens, all_rows, columns, dense=first.format == DENSE)
    sizes = [weight.shape[0] for weight in weights]
    num_programs = sum(ceil_div(size, config.rows) for size in (sizes[:1] if act else sizes))
    gemv_kernel[(num_programs,)](
        x, *_three([weight.data for weight in weights]), *_three(biases), addend,
        *_three(results), len(x), *_three(sizes), columns, x.stride(0), first.data.stride(0),
        FORMAT=first.format, ACT=act, T=tokens, R=config.rows, W=config.rows_at_once,
        BLOCK_K=config.block_k, WHOLE=columns % config.block_k == 0, num_warps=config.num_warps,
    )  # fmt: skip


def _three(values: Sequence[Any]) -> list[Any]:
    return [*values, *[None] * (SEGMENTS - len(values))]


def _launch_tiles(
    x: Tensor,
    weights: Sequence[Weight],
    biases: Sequence[Tensor | None],
    result: Tensor,
    act: str,
    addend: Tensor | None,
    *,
    exact: bool,
) -> None:
    first, (num_rows, columns), num_tokens = weights[0], weights[0].shape, len(x)
    exact = exact or first.dtype == torch.float32
    config = tiles(num_tokens, num_rows, columns, first.format, gated=bool(act), exact=exact)
    bias, up_bias = biases[0], biases[1] if act else None
    whole = config.parts == 1
    target = result if whole else _parts(config.parts * (2 if act else 1), result)
    grid = ceil_div(num_rows, config.block_n), ceil_div(num_tokens, config.block_m), config.parts
    gemm_kernel[grid](
        x, first.data, weights[1].data if act else None, bias if whole else None,
        up_bias if whole else None, addend if whole else None, target,
        num_tokens, num_rows, columns, x.stride(0), first.data.stride(0),
        FORMAT=first.format, ACT=act, EXACT=exact, DTYPE=_TYPES[first.dtype], PARTS=config.parts,
        BLOCK_M=config.block_m, BLOCK_N=config.block_n, BLOCK_K=config.block_k,
        WHOLE=columns % config.block_k == 0, UPCAST=INTERPRETS,
        num_warps=config.num_warps, num_stages=config.num_stages,
    )  # fmt: skip
    if not whole:
        join_kernel[ceil_div(num_rows, 512), num_tokens](
            target, bias, up_bias, addend, result, num_tokens, num_rows,
            ACT=act, PARTS=config.parts, BLOCK_N=512,
        )  # fmt: skip


def _parts(number: int, result: Tensor) -> Tensor:
    return torch.empty((number, *result.shape), dtype=torch.float32, device=result.device)


KERNELS: dict[str, Kernel] = {"linears": linears, "gated": gated, "linear_add": linear_add}

WEIGHT_KERNELS: dict[tuple[str, str], Kernel] = {
    ("linear", DENSE): linear,
    ("logits", DENSE): logits,
} | {
    (op.__name__, PLANES + name): op for name in PLANE_FORMATS for op in (linear, logits, embedding)
}
