"""Native recurrences against their references, with every instruction set.

Batches mix sequences of one row and of many, some that begin and some that go on, from slots to
slots; all slots that nobody reads hold NaN.
"""

from typing import Any

import pytest
import torch
from torch import Tensor

from engine.kernels import ops
from engine.kernels.batch import BatchLayout
from tests.engine.batches import layout_of
from tests.engine.native_ops import run
from tests.engine.tiled_weights import ISAS, limited_to, needs_library

pytestmark = [needs_library, pytest.mark.parametrize("isa", ISAS)]

BATCHES: tuple[tuple[list[int], list[tuple[int, int]]], ...] = (
    ([1], [(-1, 2)]),
    ([1], [(3, 3)]),
    ([1], [(3, 0)]),
    ([70], [(-1, 0)]),
    ([2], [(1, 1)]),
    ([1, 5, 1, 33, 1, 3], [(0, 6), (-1, 2), (-1, 3), (4, 4), (5, 5), (1, 7)]),
)
"""Rows of each sequence, and the slots that its state is read from and left in."""

SLOTS = 8


def check(name: str, rows: tuple[Any, ...], shape: tuple[int, ...], batch: Any, **settings: Any):
    """The same outputs, and states in the same slots."""
    counts, slots = batch
    layout = _layout(counts, slots)
    state = torch.full((SLOTS, *shape), torch.nan)
    reads = [read for read, _ in slots if read >= 0]
    state[reads] = torch.randn(len(reads), *shape)
    own = state.clone()
    expected = ops.OPS[name](*rows, state, layout, **settings)
    result = run(name, *rows, own, layout, **settings)

    torch.testing.assert_close(result, expected, rtol=2e-4, atol=2e-4)
    torch.testing.assert_close(own, state, rtol=2e-4, atol=2e-4, equal_nan=True)


def _layout(counts: list[int], slots: list[tuple[int, int]]) -> BatchLayout:
    tables = torch.zeros(len(counts), 10, dtype=torch.int64)
    return layout_of(counts, counts, tables, 16, slots)


def _unit(*shape: int) -> Tensor:
    return torch.nn.functional.normalize(torch.randn(*shape), dim=-1)


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("channels", [1, 15, 17, 1000])
@pytest.mark.parametrize("taps", [2, 3, 4])
def test_causal_conv(isa: str, batch: Any, channels: int, taps: int):
    """With a bias and without."""
    x, weight = torch.randn(sum(batch[0]), channels), torch.randn(channels, taps)
    with limited_to(isa):
        for bias in (None, torch.randn(channels)):
            check("causal_conv", (x, weight, bias), (channels, taps - 1), batch)


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("width", [1, 1000])
def test_token_shift(isa: str, batch: Any, width: int):
    """Each row becomes the one before."""
    with limited_to(isa):
        check("token_shift", (torch.randn(sum(batch[0]), width),), (width,), batch)


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize(("channels", "numbers"), [(1, 1), (15, 16), (17, 5), (1000, 16)])
def test_selective_scan(isa: str, batch: Any, channels: int, numbers: int):
    """Any number of channels, each with any number of its own."""
    count = sum(batch[0])
    x, dt = torch.randn(count, channels), torch.randn(count, channels) * 3
    a = -torch.rand(channels, numbers) * 4
    b, c = torch.randn(count, numbers), torch.randn(count, numbers)
    d, bias = torch.randn(channels), torch.randn(channels)
    with limited_to(isa):
        check("selective_scan", (x, dt, a, b, c, d, bias), (channels, numbers), batch)


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize(
    ("heads", "groups", "size", "numbers"), [(1, 1, 1, 1), (6, 2, 15, 17), (4, 4, 64, 128)]
)
@pytest.mark.parametrize("limits", [(0.0, float("inf")), (0.1, 0.5)])
def test_ssd_scan(
    isa: str, batch: Any, heads: int, groups: int, size: int, numbers: int, limits: Any
):
    """Groups of heads; dt within limits."""
    count = sum(batch[0])
    x, dt, a = torch.randn(count, heads, size), torch.randn(count, heads), -torch.rand(heads) * 4
    b, c = torch.randn(count, groups, numbers), torch.randn(count, groups, numbers)
    d, bias = torch.randn(heads), torch.randn(heads)
    rows = (x, dt, a, b, c, d, bias)
    with limited_to(isa):
        check("ssd_scan", rows, (heads, size, numbers), batch, dt_limits=limits)


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("by_key", [False, True])
@pytest.mark.parametrize("tiled", [False, True])
@pytest.mark.parametrize(("keys", "values"), [(1, 1), (15, 17), (32, 64), (16, 200)])
def test_gated_delta_rule(isa: str, batch: Any, by_key: bool, tiled: bool, keys: int, values: int):
    """One decay for a head, or one for each key; heads that share keys in either order."""
    count, heads = sum(batch[0]), 4
    q, k, v = _unit(count, 2, keys), _unit(count, 2, keys), torch.randn(count, heads, values)
    decay = -torch.rand(count, heads * (keys if by_key else 1)) * 3
    decay[0] = -1e4
    rows = (q, k, v, decay, torch.randn(count, heads))
    with limited_to(isa):
        shape = (heads, keys, values)
        check("gated_delta_rule", rows, shape, batch, tiled=tiled, max_beta=1.5)


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize(("keys", "values"), [(1, 1), (15, 17), (64, 64), (16, 200)])
def test_rwkv(isa: str, batch: Any, keys: int, values: int):
    """Both generations'."""
    count, heads = sum(batch[0]), 3
    r, k = torch.randn(count, heads, keys), torch.randn(count, heads, keys) * 0.3
    v = torch.randn(count, heads, values)
    decay = -torch.rand(count, heads, keys) * 0.6
    removal, rate = _unit(count, heads, keys), torch.rand(count, heads, keys)
    shape = (heads, keys, values)
    with limited_to(isa):
        check("rwkv6_scan", (r, k, v, decay * 20, torch.randn(heads, keys)), shape, batch)
        check("rwkv7_scan", (r, k, v, decay, removal, rate), shape, batch)


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("size", [1, 15, 17, 96])
def test_linear_attention(isa: str, batch: Any, size: int):
    """Slopes from none at all to fast."""
    qkv = torch.randn(sum(batch[0]), 3, 3 * size) * 0.5
    with limited_to(isa):
        check("linear_attention", (qkv, torch.tensor([0.0, 0.05, 2.0])), (3, size, size), batch)
