"""Checkpoints of integers as quantisers write them, with the values that they stand for.

Sources: QuantLinear.pack of AutoGPTQ, WQLinear_GEMM.from_linear of AutoAWQ, pack_to_int32 of
compressed-tensors, Int8Params of bitsandbytes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

Tensors = dict[str, Tensor]

_AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)


@dataclass(frozen=True)
class Quantised:
    """codes, (out, in), with scales and zeros (out, groups): (code - zero) * scale, and no less."""

    codes: Tensor
    scales: Tensor
    zeros: Tensor
    group_of_input: Tensor

    @property
    def values(self) -> Tensor:
        scales, zeros = (each[:, self.group_of_input] for each in (self.scales, self.zeros))
        return (self.codes - zeros).float() * scales.float()


@dataclass(frozen=True)
class Style:
    """What a quantiser says in config.json, and how it stores a weight of a module."""

    described: Mapping[str, Any]
    store: Callable[[Quantised], Tensors]
    bits: int = 4
    group_size: int = 32
    is_symmetric: bool = False
    scale_dtype: torch.dtype = torch.float16
    is_reordered: bool = False
    kept: str = field(default="INT4_32")

    def quantise(self, weight: Tensor) -> Quantised:
        """Round to nearest, group by group."""
        width = weight.shape[1]
        size = width if self.group_size == -1 else self.group_size
        order = torch.arange(width) // size
        if self.is_reordered:
            order = order[torch.randperm(width, generator=torch.Generator().manual_seed(1))]
        groups = torch.stack([weight[:, order == group] for group in order.unique()], dim=1)
        most = (1 << self.bits) - 1
        low, high = groups.amin(-1).clamp(max=0), groups.amax(-1).clamp(min=0)
        if self.is_symmetric:
            high = groups.abs().amax(-1)
            low = -high
        scales = ((high - low) / most).to(self.scale_dtype)
        zeros = torch.round(-low / scales.float()).clamp(0, most)
        if self.is_symmetric:
            zeros = torch.full_like(zeros, 1 << (self.bits - 1))
        spread = torch.round(weight / scales.float()[:, order]) + zeros[:, order]
        return Quantised(spread.clamp(0, most).int(), scales, zeros.int(), order.int())


def words(values: Tensor, bits: int) -> Tensor:
    """(n, k) as (n, k * bits / 32) int32: the first of a word's values is its lowest."""
    per_word = 32 // bits
    shifts = torch.arange(0, 32, bits)
    grouped = values.long().view(len(values), -1, per_word) << shifts
    return grouped.sum(-1).to(torch.int32)


def gptq(bits: int, stored_zero: int = 1) -> Callable[[Quantised], Tensors]:
    """stored_zero: what is taken from zeros first."""

    def store(made: Quantised) -> Tensors:
        zeros = made.zeros.t() - stored_zero & (1 << bits) - 1
        return {
            "qweight": words(made.codes, bits).t(),
            "qzeros": words(zeros.contiguous(), bits),
            "scales": made.scales.t(),
            "g_idx": made.group_of_input,
        }

    return store


def awq(made: Quantised) -> Tensors:
    def in_order(values: Tensor) -> Tensor:
        eights = values.t().reshape(values.shape[1], -1, 8)
        return words(eights[:, :, _AWQ_ORDER].flatten(1), 4)

    return {
        "qweight": in_order(made.codes),
        "qzeros": in_order(made.zeros),
        "scales": made.scales.t(),
    }


def packed(bits: int, *, has_zeros: bool) -> Callable[[Quantised], Tensors]:
    def store(made: Quantised) -> Tensors:
        zeros = {"weight_zero_point": words(made.zeros.t().contiguous(), bits).t()}
        return {
            "weight_packed": words(made.codes, bits),
            "weight_scale": made.scales,
            "weight_shape": torch.tensor(made.codes.shape),
        } | (zeros if has_zeros else {})

    return store


def with_order(made: Quantised) -> Tensors:
    return packed(4, has_zeros=False)(made) | {"weight_g_idx": made.group_of_input}


def plain(*, has_zeros: bool) -> Callable[[Quantised], Tensors]:
    def store(made: Quantised) -> Tensors:
        zeros = {"weight_zero_point": (made.zeros - 128).to(torch.int8)}
        codes = (made.codes - 128).to(torch.int8)
        return {"weight": codes, "weight_scale": made.scales} | (zeros if has_zeros else {})

    return store


def bitsandbytes(made: Quantised) -> Tensors:
    return {
        "weight": (made.codes - 128).to(torch.int8),
        "SCB": made.scales[:, 0].float() * 127,
        "weight_format": torch.tensor(0, dtype=torch.uint8),
    }


def _gptq(**said: Any) -> dict[str, Any]:
    return {"quant_method": "gptq", "bits": 4, "group_size": 32, "desc_act": False} | said


def _groups(kind: str, bits: int, group_size: int | None) -> dict[str, Any]:
    weights = {
        "num_bits": bits,
        "type": "int",
        "strategy": "group" if group_size else "channel",
        "group_size": group_size,
        "symmetric": True,
    }
    groups = {"group_0": {"targets": ["Linear"], "weights": weights}}
    return {"quant_method": "compressed-tensors", "format": kind, "config_groups": groups}


BF16 = torch.bfloat16

STYLES: Mapping[str, Style] = {
    "gptq": Style(_gptq(), gptq(4)),
    "gptq, symmetric": Style(
        _gptq(group_size=128), gptq(4), group_size=128, is_symmetric=True, kept="INT4_128"
    ),
    "gptq, groups of 64": Style(_gptq(group_size=64), gptq(4), group_size=64),
    "gptq, whole rows": Style(_gptq(group_size=-1), gptq(4), group_size=-1, kept="INT4_128"),
    "gptq_v2": Style(_gptq(checkpoint_format="gptq_v2"), gptq(4, 0)),
    "gptq, 8 bits": Style(_gptq(bits=8), gptq(8), bits=8, kept="INT8_32"),
    "gptq, reordered": Style(_gptq(desc_act=True), gptq(4), is_reordered=True, kept="dense"),
    "gptq, groups of 16": Style(_gptq(group_size=16), gptq(4), group_size=16, kept="dense"),
    "awq": Style(
        {"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemm"},
        awq,
        group_size=128,
        kept="INT4_128",
    ),
    "packed, symmetric": Style(
        _groups("pack-quantized", 4, 32),
        packed(4, has_zeros=False),
        is_symmetric=True,
        scale_dtype=BF16,
    ),
    "packed": Style(
        _groups("pack-quantized", 4, 128),
        packed(4, has_zeros=True),
        group_size=128,
        scale_dtype=BF16,
        kept="INT4_128",
    ),
    "packed, 8 bits": Style(
        _groups("pack-quantized", 8, None),
        packed(8, has_zeros=True),
        bits=8,
        group_size=-1,
        kept="INT8_128",
    ),
    "packed, reordered": Style(
        _groups("pack-quantized", 4, 32),
        with_order,
        is_symmetric=True,
        is_reordered=True,
        kept="dense",
    ),
    "plain": Style(
        _groups("int-quantized", 8, None),
        plain(has_zeros=False),
        bits=8,
        group_size=-1,
        is_symmetric=True,
        scale_dtype=BF16,
        kept="INT8_128",
    ),
    "plain, groups with zeros": Style(
        _groups("int-quantized", 8, 32), plain(has_zeros=True), bits=8, kept="INT8_32"
    ),
    "bitsandbytes": Style(
        {"quant_method": "bitsandbytes", "load_in_8bit": True, "load_in_4bit": False},
        bitsandbytes,
        bits=8,
        group_size=-1,
        is_symmetric=True,
        kept="INT8_128",
    ),
}
