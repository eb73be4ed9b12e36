"""What scans share: a program finds the rows of its sequence, and their state, by itself."""

from typing import NamedTuple

import triton
from torch import Tensor
from triton import language as tl

from engine.kernels.batch import BatchLayout

FEW_ROWS = 16
"""Sequences with no more have their rows taken one by one where there is another way."""

MANY_ROWS = 2**31 - 1


@triton.jit
def rows_of(query_starts_at, sequence):
    """The sequence's first row, and how many it has."""
    first = tl.load(query_starts_at + sequence)
    count = tl.load(query_starts_at + sequence + 1) - first
    return first, count.to(tl.int32)


@triton.jit
def softplus(x):
    """log(1 + exp(x)), exact also where little is left of it (Kahan's log1p)."""
    small = tl.exp(-tl.abs(x))
    grown = 1.0 + small
    taken = tl.where(grown == 1.0, 1.0, grown - 1.0)
    logarithm = tl.where(grown == 1.0, small, tl.log(grown) * (small / taken))
    return tl.maximum(x, 0.0) + logarithm


@triton.jit
def sigmoid(x):
    small = tl.exp(-tl.abs(x))
    return tl.where(x >= 0, 1.0, small) / (1.0 + small)


def longest_query(x: Tensor, layout: BatchLayout) -> int:
    """No sequence has more rows. x: (T, ...)."""
    return layout.longest_query or len(x)


class Plan(NamedTuple):
    """Sequences with at most `most_rows` take them one by one, those with `least_rows` in chunks.

    0: there are none.
    """

    most_rows: int
    least_rows: int


def plan_of(x: Tensor, layout: BatchLayout, *, has_chunks: bool) -> Plan:
    """For rows x (T, ...). has_chunks: there is a way to take many rows at once."""
    if not has_chunks:
        return Plan(MANY_ROWS, 0)
    if longest_query(x, layout) <= FEW_ROWS:
        return Plan(FEW_ROWS, 0)
    if len(layout.state_reads) == 1:
        return Plan(0, 1)
    return Plan(FEW_ROWS, FEW_ROWS + 1)


def rowwise(x: Tensor) -> Tensor:
    """X (T, ...) with the values of each row side by side, as columns of a wider matrix have them."""
    return x if not len(x) or x[0].is_contiguous() else x.contiguous()


def power_of_two(number: int, least: int = 1) -> int:
    return max(least, 1 << (number - 1).bit_length())
