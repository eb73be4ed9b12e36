"""Weights of integers as quantisers store them: codes, scales and zeros in tensors of their own.

Sources: QuantLinear of AutoGPTQ and GPTQModel, WQLinear_GEMM of AutoAWQ, pack-quantized and
int-quantized of compressed-tensors, Int8Params of bitsandbytes.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.checkpoint import TensorInfo
from engine.quant.formats import FORMATS
from engine.quant.integers import in_runs, join_nibbles, split_nibbles
from engine.quant.schemes import Scheme

Read = Callable[[TensorInfo], Tensor]
"""A stored tensor's bytes, (nbytes,) uint8."""

DECODED = "F32"
"""The type of a weight whose inputs are in groups of no order, or of an odd size."""

_AWQ_PLACES = (0, 4, 1, 5, 2, 6, 3, 7)
"""Which nibble of a word, from the lowest, holds each of its eight values."""


class NotStoredRight(Exception):
    """Tensors of a weight that do not fit each other; the message says which."""


@dataclass(frozen=True, slots=True)
class GroupedTensor(TensorInfo):
    """A weight of integers in groups along its rows. shape: (out, in). name: of its codes.

    type: of `engine.quant.integers`, or `DECODED`: then values are what is read. nbytes: what is
    kept of it. order: the group of each input.
    """

    scheme: Scheme
    scales: TensorInfo
    zeros: TensorInfo | None
    order: TensorInfo | None
    group_size: int

    def parts(self, read: Read) -> tuple[Tensor, ...]:
        """Codes and pairs as the format has them, a row each, or values. Raises `NotStoredRight`."""
        codes, scales, zeros = _codes(self, read), _scales(self, read), _zeros(self, read)
        order = _order(self, read)
        if self.type != DECODED:
            pairs = torch.stack((scales, zeros.float()), dim=2)
            return codes, in_runs(self.type, pairs, self.group_size, self.shape[1]).flatten(1)
        values = _in_bytes(self.scheme, codes).float()
        values.sub_(zeros[:, order]).mul_(scales[:, order])
        return (values.view(torch.uint8),)


def _codes(tensor: GroupedTensor, read: Read) -> Tensor:
    """(out, row bytes) as `engine.quant.integers` has them."""
    num_rows, width = tensor.shape
    stored = read(tensor)
    match tensor.scheme.layout:
        case "gptq":
            return _transposed(stored, num_rows)
        case "awq":
            return join_nibbles(_awq_values(stored.view(width, -1)).t())
        case "packed":
            return stored.view(num_rows, -1)
        case _:
            return _unsigned(stored).view(num_rows, -1)


def _scales(tensor: GroupedTensor, read: Read) -> Tensor:
    """(out, groups) float32."""
    num_rows = tensor.shape[0]
    values = FORMATS[tensor.scales.type].unpack(read(tensor.scales), torch.float32)
    match tensor.scheme.layout:
        case "gptq" | "awq":
            return values.view(-1, num_rows).t()
        case "bitsandbytes":
            return values.view(num_rows, 1) / 127
        case _:
            groups = math.prod(tensor.scales.shape[1:])
            return values.view(-1, groups).expand(num_rows, groups)


def _zeros(tensor: GroupedTensor, read: Read) -> Tensor:
    """(out, groups) uint8, or the one that all share as (1, 1)."""
    num_rows, scheme = tensor.shape[0], tensor.scheme
    if tensor.zeros is None:
        groups = -(-tensor.shape[1] // tensor.group_size)
        return torch.full((num_rows, groups), 1 << scheme.bits - 1, dtype=torch.uint8)
    stored, (first, second) = read(tensor.zeros), tensor.zeros.shape
    match scheme.layout:
        case "gptq":
            zeros = _in_bytes(scheme, stored.view(first, -1)).t()[:num_rows]
            return zeros + scheme.first_zero & (1 << scheme.bits) - 1
        case "awq":
            return _awq_values(stored.view(first, -1)).t()
        case "packed":
            return _in_bytes(scheme, _transposed(stored, second)).t()[:num_rows]
        case _:
            return _unsigned(stored).view(first, second).expand(num_rows, second)


def _order(tensor: GroupedTensor, read: Read) -> Tensor:
    """(in,) the group of each input."""
    width = tensor.shape[1]
    in_turn = torch.arange(width) // tensor.group_size
    if tensor.order is None:
        return in_turn
    order = read(tensor.order).view(torch.int32).long()
    num_groups = -(-width // tensor.group_size)
    if order.min() < 0 or order.max() >= num_groups:
        raise NotStoredRight(
            f"{tensor.order.name!r} names groups beyond the {num_groups} there are"
        )
    if tensor.type != DECODED and not torch.equal(order, in_turn):
        raise NotStoredRight(f"{tensor.order.name!r} has groups in another order without desc_act")
    return order


def _in_bytes(scheme: Scheme, codes: Tensor) -> Tensor:
    return split_nibbles(codes) if scheme.bits == 4 else codes


def _unsigned(stored: Tensor) -> Tensor:
    return stored ^ 0x80


def _transposed(stored: Tensor, num_columns: int) -> Tensor:
    """Bytes of (n, columns) words of 32 bits as (columns, 4 * n)."""
    words = stored.view(torch.int32).view(-1, num_columns)
    return words.t().contiguous().view(torch.uint8)


def _awq_values(stored: Tensor) -> Tensor:
    """(n, bytes) as (n, 2 * bytes) uint8."""
    words = split_nibbles(stored).view(len(stored), -1, 8)
    return words[:, :, _AWQ_PLACES].flatten(1)
