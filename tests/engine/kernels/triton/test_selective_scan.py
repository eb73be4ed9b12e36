"""Mamba's scan in Triton against the reference."""

import pytest
import torch

pytest.importorskip("triton", reason="Triton is for Linux alone")

from engine.kernels import reference_ssm as reference
from engine.kernels.triton import selective_scan as kernels
from tests.engine.kernels.triton.scans import (
    BATCHES,
    MIXED,
    SEEDS,
    check,
    columns_of,
    drawn,
    normal,
)


def check_scan(ragged, channels, size, *, dtype=torch.float32, dt_scale=1.0, **more):
    widths = channels, channels, size, size
    parts = [normal(i, ragged.num_rows, n).to(dtype) for i, n in enumerate(widths)]
    x, dt, b, c = columns_of(*parts)
    a, d, dt_bias = -normal(5, channels, size).exp(), normal(6, channels), normal(7, channels)
    dt = dt * dt_scale
    check(
        ragged,
        (channels, size),
        lambda state, layout: kernels.selective_scan(x, dt, a, b, c, d, dt_bias, state, layout),
        lambda state, layout: reference.selective_scan(x, dt, a, b, c, d, dt_bias, state, layout),
        **more,
    )


@pytest.mark.parametrize("batch", BATCHES)
def test_it_is_as_the_reference(batch):
    """Of more channels than a program has, and numbers that fill no tile."""
    check_scan(BATCHES[batch], 40, 5)


def test_rows_of_bfloat16():
    """Computed in float32, as the states are kept."""
    check_scan(MIXED, 32, 8, dtype=torch.bfloat16)


def test_steps_of_any_length():
    """Dt of next to nothing and of next to everything."""
    check_scan(MIXED, 32, 4, dt_scale=20.0)


@SEEDS
def test_drawn_batches(seed):
    check_scan(drawn(seed), 24, 4)
