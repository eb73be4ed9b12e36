"""The causal convolution and the shift in Triton against the reference."""

import pytest
import torch

pytest.importorskip("triton", reason="Triton is for Linux alone")

from engine.kernels import reference_recurrent as reference
from engine.kernels.triton import conv as kernels
from tests.engine.kernels.triton.scans import (
    BATCHES,
    DECODES,
    MIXED,
    SEEDS,
    check,
    columns_of,
    drawn,
    normal,
)


def check_conv(ragged, channels, taps, *, has_bias=True, dtype=torch.float32, **more):
    # A column beside it: rows are further apart than they are wide.
    x, _ = columns_of(
        *(normal(i, ragged.num_rows, n).to(dtype) for i, n in enumerate((channels, 3)))
    )
    weight, bias = normal(2, channels, taps), normal(3, channels) if has_bias else None
    check(
        ragged,
        (channels, taps - 1),
        lambda state, layout: kernels.causal_conv(x, weight, bias, state, layout),
        lambda state, layout: reference.causal_conv(x, weight, bias, state, layout),
        **more,
    )


def check_shift(ragged, width, *, dtype=torch.float32, **more):
    x, _ = columns_of(*(normal(i, ragged.num_rows, n).to(dtype) for i, n in enumerate((width, 3))))
    check(
        ragged,
        (width,),
        lambda state, layout: kernels.token_shift(x, state, layout),
        lambda state, layout: reference.token_shift(x, state, layout),
        **more,
    )


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize(("taps", "has_bias"), [(4, True), (3, False)])
def test_conv_is_as_the_reference(batch, taps, has_bias):
    check_conv(BATCHES[batch], 40, taps, has_bias=has_bias)


def test_more_channels_than_a_program_has():
    check_conv(DECODES, kernels.channels_of(1) + 3, 4)
    check_conv(MIXED, kernels.channels_of(16) + 3, 2)


@pytest.mark.parametrize("batch", BATCHES)
def test_shift_is_as_the_reference(batch):
    check_shift(BATCHES[batch], kernels.COLUMNS + 3)


def test_a_longest_query_that_nobody_said():
    """Is no longer than the batch."""
    check_conv(MIXED, 40, 4, tells_longest=False)
    check_shift(MIXED, 40, tells_longest=False)


def test_rows_of_bfloat16():
    """Computed in float32, as the states are kept."""
    check_conv(MIXED, 40, 4, dtype=torch.bfloat16)
    check_shift(MIXED, 40, dtype=torch.bfloat16)


@SEEDS
def test_drawn_batches(seed):
    ragged = drawn(seed)
    check_conv(ragged, 20, 2 + seed % 4)
    check_shift(ragged, 20)
