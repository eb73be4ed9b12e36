"""Parallel residual streams and pooled rows in Triton against the reference."""

import pytest
import torch

pytest.importorskip("triton", reason="Triton is for Linux alone")

from engine.kernels import reference_encoding, reference_streams
from engine.kernels.batch import BatchLayout
from engine.kernels.triton import streams as kernels
from tests.engine.kernels.triton.agreement import DTYPES, check, normal, part_of


@pytest.mark.parametrize("dtype", DTYPES)
def test_streams_are_mixed_as_by_the_reference(dtype):
    """Several streams of rows that no program's columns divide."""
    streams, x = normal(1, 3, 4, 530, dtype=dtype), part_of(normal(2, 3, 530, dtype=dtype))
    check(
        kernels.mix_streams, reference_streams.mix_streams, streams, normal(3, 3, 16, dtype=dtype)
    )
    check(
        kernels.correct_streams,
        reference_streams.correct_streams,
        streams,
        x,
        normal(4, 3, 4, dtype=dtype),
    )
    check(kernels.add_to_later, reference_streams.add_to_later, streams, x)


def test_what_is_stored_more_finely_widens_or_is_rounded():
    """Dtypes are the reference's where streams and what is added have two."""
    streams, x = normal(1, 2, 3, 20), normal(2, 2, 20, dtype=torch.bfloat16)
    check(kernels.correct_streams, reference_streams.correct_streams, streams, x, normal(3, 2, 3))
    check(kernels.add_to_later, reference_streams.add_to_later, streams.bfloat16(), x.float())


@pytest.mark.parametrize("dtypes", [(torch.float32,) * 2, (torch.float32, torch.bfloat16)])
def test_vectors_get_the_size_of_a_target(dtypes):
    """Each by itself; what is nearly nothing is not blown up."""
    x, target = normal(1, 4, 3, 70, dtype=dtypes[0]), normal(2, 4, 70, dtype=dtypes[1]) * 3
    x[1, 2] *= 1e-4
    check(kernels.match_rms, reference_streams.match_rms, x, part_of(target))


@pytest.mark.parametrize("pooling", ["mean", "first", "last"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_are_pooled(pooling, dtype):
    """Sequences of one row, of as many as are added at once, and of more."""
    starts = torch.tensor([0, 1, 1 + kernels.POOLED_ROWS, 30])
    none = torch.zeros(0, dtype=torch.int64)
    layout = BatchLayout(starts, none, none, none, none, none, 16)
    check(
        kernels.pool_rows,
        reference_encoding.pool_rows,
        part_of(normal(1, 30, 300, dtype=dtype)),
        layout,
        pooling=pooling,
    )
