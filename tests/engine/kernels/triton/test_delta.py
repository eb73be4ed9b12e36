"""The gated delta rule in Triton against the reference."""

import pytest
import torch

pytest.importorskip("triton", reason="Triton is for Linux alone")

from engine.kernels import reference_delta as reference
from engine.kernels.triton import delta as kernels
from engine.kernels.triton.delta_chunks import CHUNK
from tests.engine.kernels.triton.scans import (
    BATCHES,
    MIXED,
    SEEDS,
    Ragged,
    check,
    columns_of,
    drawn,
    normal,
)


def check_rule(
    ragged,
    *,
    heads=2,
    key_heads=1,
    key_dim=8,
    value_dim=8,
    by_channel=False,
    dtype=torch.float32,
    forgetting=1.0,
    keys_repeat=False,
    decay=None,
    tolerance=2e-5,
    tells_longest=True,
    **more,
):
    """more: of the rule itself."""
    count = ragged.num_rows
    shapes = (key_heads, key_dim), (key_heads, key_dim), (heads, value_dim), (heads,)
    parts = [normal(i, count, *shape) for i, shape in enumerate(shapes)]
    parts[1] = torch.nn.functional.normalize(parts[1], dim=-1)
    if keys_repeat:
        parts[1][1::2] = parts[1][::2][: len(parts[1][1::2])]
    q, k, v, beta = columns_of(*(part.to(dtype) for part in parts))
    width = heads * key_dim if by_channel else heads
    drawn_decay = -forgetting * (normal(6, count, width) * 2 - 1).exp()
    decay = drawn_decay if decay is None else decay(drawn_decay.shape)

    def run(rule):
        return lambda state, layout: rule(q, k, v, decay, beta, state, layout, **more)

    kernel, expected = run(kernels.gated_delta_rule), run(reference.gated_delta_rule)
    shape = heads, key_dim, value_dim
    check(ragged, shape, kernel, expected, tolerance=tolerance, tells_longest=tells_longest)


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("by_channel", [False, True], ids=["by head", "by channel"])
def test_it_is_as_the_reference(batch, by_channel):
    """Of dims that fill no tile, and with a decay of its own for each row of a state or without."""
    check_rule(BATCHES[batch], key_dim=5, value_dim=20, by_channel=by_channel)


def test_more_rows_than_a_chunk():
    """From chunk to chunk the state goes on."""
    check_rule(Ragged([2 * CHUNK + 9], [(-1, 2)]))
    check_rule(Ragged([1, CHUNK + 9, CHUNK], [(1, 1), (2, 2), (-1, 0)]))


def test_extreme_decays_stay_exact():
    """After rows that forget everything, those that forget next to nothing are as exact as ever."""
    ragged = Ragged([2 * CHUNK], [(0, 1)])

    def decay(shape):
        rest = torch.full(shape, -1e-4)
        rest[::9], rest[5] = -1e6, -torch.inf
        return rest

    check_rule(ragged, decay=decay)


@pytest.mark.parametrize("tiled", [False, True])
def test_value_heads_share_the_heads_of_keys(tiled):
    check_rule(MIXED, heads=4, key_heads=2, tiled=tiled)


def test_max_beta_scales_what_is_corrected():
    check_rule(MIXED, max_beta=2.0, keys_repeat=True, forgetting=0.01, tolerance=1e-4)
    check_rule(
        Ragged([40], [(-1, 0)]), max_beta=2.0, keys_repeat=True, forgetting=0.01, tolerance=1e-4
    )


def test_rows_of_bfloat16():
    """Computed in float32, as the states are kept."""
    check_rule(MIXED, dtype=torch.bfloat16)


@pytest.mark.parametrize("forgetting", [0.0, 1e-5, 1e6])
def test_heads_that_forget_nothing_or_all(forgetting):
    check_rule(MIXED, forgetting=forgetting, tolerance=5e-5)


@SEEDS
def test_drawn_batches(seed):
    check_rule(drawn(seed), by_channel=bool(seed % 2), tolerance=5e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_log_decay_is_as_the_reference(dtype):
    """Whatever is left of softplus: 50 wide rows, 6 columns for each of 3 heads."""
    x, _ = columns_of((normal(0, 4, 18) * 30).to(dtype), normal(1, 4, 3).to(dtype))
    factor, bias = -normal(2, 3).exp(), normal(3, 18)
    found = kernels.log_decay(x, factor, bias)

    assert found.dtype == torch.float32
    torch.testing.assert_close(found, reference.log_decay(x, factor, bias), rtol=1e-5, atol=0)
