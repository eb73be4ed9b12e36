"""Paged attention in Triton against the reference."""

from dataclasses import replace
from itertools import product

import pytest
import torch
from torch import Tensor

pytest.importorskip("triton", reason="Triton is for Linux alone")

from engine.kernels import q8_0, reference_attention
from engine.kernels.pages import zero_pages
from engine.kernels.reference_attention import F8
from engine.kernels.triton import attention, kept, launches
from engine.kernels.triton.attention import paged_attention, tile_for
from tests.engine.kernels.triton.paged import (
    BATCHES,
    cache_of,
    layout_of,
    randn,
    slots_of,
    unbounded,
)

HEADS, KV_HEADS, DIM = 4, 2, 32

PLAIN = {}
VARIANTS = {
    "plain": PLAIN,
    "window": {"window": 5},
    "softcap": {"softcap": 0.7},
    "sinks": {"sinks": torch.tensor([-1.0, 0.0, 1.0, 2.0])},
    "alibi": {"alibi": torch.tensor([0.5, 0.25, 0.1, 0.0])},
    "all": {
        "window": 17,
        "softcap": 3.0,
        "sinks": torch.tensor([-1.0, 0.0, 1.0, 2.0]),
        "alibi": torch.tensor([0.05, 0.02, 0.01, 0.0]),
    },
}


def both(
    layout, *, heads=HEADS, kv_heads=KV_HEADS, dim=DIM, value_dim=None, dtype=None, **settings
):
    """What the kernel and the reference give."""
    dtype = dtype or torch.float32
    keys = cache_of(layout, kv_heads, dim, dtype=dtype)
    values = cache_of(layout, kv_heads, value_dim or dim, dtype=dtype, seed=2)
    q = randn(len(layout.slots), heads, dim, dtype=dtype)
    arguments = (q, keys, values, layout)
    return (
        paged_attention(*arguments, scale=0.3, **settings),
        reference_attention.paged_attention(*arguments, scale=0.3, **settings),
    )


def assert_same(found: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)


@pytest.fixture
def in_parts(monkeypatch):
    """Parts as of long sequences on a large GPU."""
    monkeypatch.setattr(launches, "_SPLIT_TOKENS", 8)
    monkeypatch.setattr(
        attention, "tile_for", lambda *a, **k: replace(tile_for(*a, **k), block_n=16)
    )


def cases(*chosen: tuple[str, str]) -> list:
    """Every batch with every variant; those that are not chosen are slow."""
    return [
        pytest.param(*case, marks=() if case in chosen else pytest.mark.slow)
        for case in product(BATCHES, VARIANTS)
    ]


MIXED = [("a mixture", variant) for variant in VARIANTS]


@pytest.mark.parametrize(
    ("batch", "variant"), cases(*MIXED, *((batch, "all") for batch in BATCHES))
)
def test_rows_see_what_the_reference_sees(batch, variant):
    """Any mixture of prompts and decodes, over blocks of a cache that is NaN elsewhere."""
    found, expected = both(layout_of(*BATCHES[batch]), **VARIANTS[variant])

    assert_same(found, expected)


@pytest.mark.parametrize(
    ("batch", "variant"),
    cases(("decodes", "all"), ("a mixture", "plain"), ("a later chunk", "all")),
)
def test_parts_are_joined(batch, variant, in_parts):
    """Each program looks at a part of the tokens; some have none."""
    found, expected = both(layout_of(*BATCHES[batch]), **VARIANTS[variant])

    assert_same(found, expected)


def test_a_long_sequence_is_cut():
    """By its bound alone, and never for a few tokens or where there are programs enough."""
    assert launches.num_splits(8, 131072) == 32
    assert launches.num_splits(8, 1024) == 4
    assert launches.num_splits(8, 255) == 1
    assert launches.num_splits(300, 131072) == 1
    assert launches.num_splits(1, 10**9) == 64


def test_rows_alone_have_a_launch_of_their_own():
    """Where the others need no parts: a decode beside a prompt is as fast as without it."""

    def cut(longest_query, num_sequences=4):
        made = launches.launches(
            512,
            num_sequences,
            longest_query,
            lambda longest: tile_for(4, longest, 128, 90),
            lambda _: 8,
            lambda _: 32768,
            parts_singles=True,
        )
        return [(launch.singles, launch.splits) for launch in made]

    assert cut(1) == [("only", 8)]
    assert cut(500) == cut(0) == [("skipped", 1), ("only", 8)]
    assert cut(512, num_sequences=1) == [("too", 1)]


@pytest.mark.parametrize(("singles", "splits"), [("only", 1), ("only", 2), ("skipped", 1)])
def test_a_launch_does_its_own_rows_alone(singles, splits, monkeypatch):
    """No row is done twice; what is done in parts is joined where it belongs."""
    layout = layout_of([1, 3, 0, 1, 20], [18, 20, 7, 5, 25])
    keys, values = (cache_of(layout, KV_HEADS, DIM, seed=seed) for seed in (0, 2))

    def one(*args, **more):
        made = launches.launches(*args, **more)
        return [replace(each, splits=splits) for each in made if each.singles == singles]

    monkeypatch.setattr(attention, "launches", one)
    out = torch.full((25, HEADS, DIM), 7.0)
    q, sight = randn(25, HEADS, DIM), attention.Sight(0.3, None, 0)
    attention.attend(q, keys, values, out, layout, sight, 25)
    expected = reference_attention.paged_attention(q, keys, values, layout, scale=0.3)
    others = torch.arange(25) % 4 != 0 if singles == "only" else torch.arange(25) % 4 == 0
    others[5:] = singles == "only"
    expected[others] = 7.0

    assert_same(out, expected)


@pytest.mark.parametrize(
    ("heads", "kv_heads", "dim", "value_dim"),
    [(7, 1, 80, 80), (3, 3, 16, 16), (6, 2, 96, 64), (2, 1, 192, 128), (71, 1, 20, 20)],
    ids=str,
)
def test_any_heads_and_sizes(heads, kv_heads, dim, value_dim):
    """No power of two, more heads than lanes, values of another size than keys."""
    layout = layout_of([1, 4], [18, 20])
    found, expected = both(layout, heads=heads, kv_heads=kv_heads, dim=dim, value_dim=value_dim)

    assert_same(found, expected)


@pytest.mark.parametrize("batch", ["decodes", "a mixture"])
def test_no_bound_is_needed(batch):
    """A bound makes no difference to what is right."""
    found, expected = both(unbounded(layout_of(*BATCHES[batch])))

    assert_same(found, expected)


@pytest.mark.parametrize("batch", ["decodes", "a mixture"])
def test_rows_that_fill_up_a_batch_change_nothing(batch):
    """What is given of them is zero."""
    found, expected = both(
        layout_of(*BATCHES[batch], filled_up=3), sinks=VARIANTS["sinks"]["sinks"]
    )

    assert_same(found[:-3], expected[:-3])
    assert (found[-3:] == 0).all()


def test_rows_that_fill_up_a_batch_in_parts(in_parts):
    """As without parts."""
    found, expected = both(layout_of([1, 1], [40, 33], filled_up=2))

    assert_same(found[:-2], expected[:-2])
    assert (found[-2:] == 0).all()


def test_shared_blocks_and_other_block_sizes():
    """A prefix may be several sequences' own, and the pool's blocks of any multiple of 16."""
    found, expected = both(layout_of([1, 3], [70, 67], block_size=32, shared_blocks=2))

    assert_same(found, expected)


@pytest.mark.parametrize("batch", ["decodes", "a mixture"])
def test_a_window_reads_none_before_it(batch):
    """Others may have written there meanwhile."""
    layout = layout_of([1, 3], [45, 60]) if batch == "a mixture" else layout_of([1], [45])
    keys, values = (cache_of(layout, KV_HEADS, DIM, seed=seed) for seed in (0, 2))
    q = randn(len(layout.slots), HEADS, DIM)
    expected = paged_attention(q, keys, values, layout, scale=0.3, window=7)
    for sequence, (start, end) in enumerate(layout.query_starts.unfold(0, 2, 1).tolist()):
        unseen = slots_of(layout, sequence)[: -(end - start + 6)]
        keys.flatten(0, 1)[unseen] = values.flatten(0, 1)[unseen] = torch.nan
    found = paged_attention(q, keys, values, layout, scale=0.3, window=7)

    assert torch.equal(found, expected)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("parts", [False, True])
@pytest.mark.parametrize("bad", [torch.nan, pytest.param(torch.inf, marks=pytest.mark.slow)])
def test_bad_values_stay_in_their_sequence(bad, parts, request):
    """And they show there: no row that sees them becomes a number."""
    if parts:
        request.getfixturevalue("in_parts")
    layout = layout_of([1, 2, 1], [20, 20, 33])
    keys, values = (cache_of(layout, KV_HEADS, DIM, seed=seed) for seed in (0, 2))
    q = randn(len(layout.slots), HEADS, DIM)
    expected = paged_attention(q, keys, values, layout, scale=0.3)
    keys.flatten(0, 1)[slots_of(layout, 1)[3]] = bad
    found = paged_attention(q, keys, values, layout, scale=0.3)

    assert torch.equal(found[[0, 3]], expected[[0, 3]])
    assert not found[1:3].isfinite().any()


@pytest.mark.parametrize("batch", ["decodes", "a mixture"])
@pytest.mark.parametrize("form", [kept.F8, kept.F8_BY_HAND, kept.Q8])
def test_caches_of_eight_bits(batch, form, monkeypatch):
    """FP8, with and without the device's conversions, and q8_0, the last block of which is short."""
    monkeypatch.setattr(kept, "format_of", lambda _: form)
    layout, dim = layout_of(*BATCHES[batch]), 80
    keys, values = (cache_of(layout, KV_HEADS, dim, seed=seed) for seed in (0, 2))
    if form == kept.Q8:
        keys, values = q8_0.pack(keys), q8_0.pack(values)
    else:
        keys, values = keys.to(F8), values.to(F8)
    q = randn(len(layout.slots), HEADS, dim)

    assert_same(
        paged_attention(q, keys, values, layout, scale=0.2),
        reference_attention.paged_attention(q, keys, values, layout, scale=0.2),
    )


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("form", [kept.F8, kept.F8_BY_HAND])
def test_every_code_of_fp8_is_read(form, monkeypatch):
    """Exactly, as the value of the only token that a row sees.

    Two codes are NaN, but not to the interpreter's own conversion.
    """
    monkeypatch.setattr(kept, "format_of", lambda _: form)
    codes = torch.arange(256, dtype=torch.uint8).view(1, 1, 1, 256)
    keys, values = torch.zeros(1, 16, 1, 256).to(F8), torch.zeros(1, 16, 1, 256).to(F8)
    values.view(torch.uint8)[:, :1] = codes
    layout = layout_of([1], [1])
    layout = replace(layout, block_tables=torch.zeros_like(layout.block_tables))
    found = paged_attention(torch.ones(1, 1, 256), keys, values, layout, scale=1.0)

    found, expected = found.flatten(), codes.view(F8).float().flatten()
    if form == kept.F8:
        found, expected = (each[codes.flatten() % 128 != 127] for each in (found, expected))

    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)


def test_values_of_sixteen_bits():
    """Weights are rounded as values are."""
    found, expected = both(layout_of(*BATCHES["a mixture"]), dtype=torch.float16)

    assert found.dtype == torch.float16
    assert_same(found, expected, 2e-3)


def test_a_cache_may_have_more_than_two_to_the_31_elements():
    """Where a block lies does not fit 32 bits."""
    layout = layout_of([1, 2], [20, 18])
    small = [cache_of(layout, 8, 128, seed=seed).to(F8) for seed in (0, 2)]
    q = randn(3, 8, 128)
    expected = paged_attention(q, *small, layout, scale=0.1)
    last = 2**31 // small[0][0].nbytes + 1000
    caches = []
    for cache in small:
        large = zero_pages((last + 1) * cache[0].nbytes).view(-1, *cache.shape[1:])
        large[last - len(cache) + 1 :] = cache.view(torch.uint8)
        caches.append(large.view(F8))
    moved = replace(layout, block_tables=layout.block_tables + last - len(small[0]) + 1)

    assert torch.equal(paged_attention(q, *caches, moved, scale=0.1), expected)


def test_queries_may_be_a_part_of_something_wider():
    """As one product's columns are."""
    layout = layout_of(*BATCHES["decodes"])
    keys, values = (cache_of(layout, KV_HEADS, DIM, seed=seed) for seed in (0, 2))
    wide = randn(3, HEADS + 2, DIM)
    q = wide[:, 1:-1]

    assert torch.equal(
        paged_attention(q, keys, values, layout, scale=0.3),
        paged_attention(q.clone(), keys, values, layout, scale=0.3),
    )
