"""Writing to paged caches in Triton, bit for bit as the reference does."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

pytest.importorskip("triton", reason="Triton is for Linux alone")

from engine.kernels import q8_0, reference, reference_attention, reference_latent
from engine.kernels.reference_attention import F8
from engine.kernels.triton import cache, kept
from engine.kernels.triton.cache import cache_write, latent_write, rope_cache_write
from tests.engine.kernels.triton.paged import layout_of, randn

LAYOUT = layout_of([3, 1, 1], [20, 33, 1], filled_up=2)
ROWS = len(LAYOUT.slots)
BLOCKS = int(LAYOUT.block_tables.max()) + 2


def caches(form, heads: int, dim: int, value_dim: int) -> tuple[Tensor, Tensor]:
    """All of them 7, in any format."""
    widths = [q8_0.row_bytes(d) if form == torch.uint8 else d for d in (dim, value_dim)]
    made = [torch.full((BLOCKS, 16, heads, width), 7.0) for width in widths]
    keys, values = (each.to(form) for each in made)
    return keys, values


def bits(x: Tensor) -> Tensor:
    return x.view(torch.uint8)


def assert_all_same(found, expected) -> None:
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(bits(one), bits(other))


FORMS = [torch.float32, torch.float16, F8, torch.uint8]


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize(("heads", "dim", "value_dim"), [(3, 80, 48), (2, 64, 64)])
def test_rows_go_to_their_slots_alone(form, heads, dim, value_dim):
    """And those without a slot nowhere."""
    kind = torch.float32 if form in {F8, torch.uint8} else form
    k, v = (100 * randn(ROWS, heads, d, seed=d, dtype=kind) for d in (dim, value_dim + 1))
    v = v[..., :-1]  # a row in more than one piece
    found, expected = (caches(form, heads, dim, value_dim) for _ in range(2))
    cache_write(k, v, *found, LAYOUT)
    reference_attention.cache_write(k, v.contiguous(), *expected, LAYOUT)

    assert_all_same(found, expected)


def test_more_columns_than_a_program_has(monkeypatch):
    """Wide rows are cut, packed or not."""
    monkeypatch.setattr(cache, "_COLUMNS", 32)
    monkeypatch.setattr(cache, "_Q8_BLOCKS", 2)
    k, v = (randn(ROWS, 3, 40, seed=seed) for seed in (1, 2))
    for form in (torch.float32, torch.uint8):
        found, expected = (caches(form, 3, 40, 40) for _ in range(2))
        cache_write(k, v, *found, LAYOUT)
        reference_attention.cache_write(k, v, *expected, LAYOUT)

        assert_all_same(found, expected)


def f8_values() -> Tensor:
    """Every code's value, what lies halfway and next to it, and what has no code: (n,)."""
    codes = torch.arange(256, dtype=torch.uint8).view(F8).float()
    known = codes[codes.isfinite()].sort().values
    halfway = (known[1:] + known[:-1]) / 2
    near = [torch.nextafter(halfway, halfway + sign) for sign in (-1, 1)]
    odd = torch.tensor([0.0, -0.0, 449, -1e9, torch.inf, -torch.inf, torch.nan, 1e-30])
    return torch.cat([known, halfway, *near, odd])


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
def test_f8_is_rounded_to_the_nearest():
    """Ties to even, no greater than 448; NaN stays."""
    values, written = f8_values(), int((LAYOUT.slots >= 0).sum())
    k = torch.nn.functional.pad(values, (0, -len(values) % written)).view(written, 1, -1)
    k = torch.cat([k, k[: ROWS - written]])
    found, expected = (caches(F8, 1, k.shape[2], k.shape[2]) for _ in range(2))
    cache_write(k, -k, *found, LAYOUT)
    reference_attention.cache_write(k, -k, *expected, LAYOUT)

    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one.float().isnan(), other.float().isnan())
        assert torch.equal(one.float().nan_to_num(), other.float().nan_to_num())


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
def test_q8_keeps_what_is_not_finite():
    """A block with it is NaN, as the reference has it; none of the others is."""
    k = randn(ROWS, 2, 64)
    k[0, 0, 3], k[1, 1, 40], k[2, 0, 0] = torch.inf, torch.nan, 1e9
    k[3] = 0.0
    found, expected = (caches(torch.uint8, 2, 64, 64) for _ in range(2))
    cache_write(k, k, *found, LAYOUT)
    reference_attention.cache_write(k, k, *expected, LAYOUT)

    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(q8_0.unpack(one), q8_0.unpack(other), equal_nan=True)


@pytest.mark.parametrize("form", [torch.float32, torch.float16])
def test_latents_go_to_their_slots(form):
    latents = randn(ROWS, 2 * 72, dtype=form)[:, :72]
    found, expected = (torch.full((BLOCKS, 16, 72), 7, dtype=form) for _ in range(2))
    latent_write(latents, found, LAYOUT)
    reference_latent.latent_write(latents, expected, LAYOUT)

    assert torch.equal(found, expected)


@pytest.mark.parametrize("form", [torch.float32, F8, torch.uint8], ids=str)
@pytest.mark.parametrize(
    ("heads", "kv_heads", "dim", "value_dim", "half"), [(6, 2, 64, 64, 32), (3, 3, 80, 48, 16)]
)
def test_keys_are_turned_on_their_way(form, heads, kv_heads, dim, value_dim, half):
    """As by `rope` and `cache_write`; the rest of a head, beyond 2 * half, stays."""
    q, k = (randn(ROWS, n, dim, seed=n) for n in (heads, kv_heads + 10))
    k, v = k[:, 5:-5], randn(ROWS, kv_heads, value_dim)
    table = reference.rope_table(torch.arange(ROWS) * 7, 100 ** -(torch.arange(half) / half), 1.5)
    found, expected = (caches(form, kv_heads, dim, value_dim) for _ in range(2))
    turned = rope_cache_write(q, k, v, table, *found, LAYOUT)
    reference_attention.cache_write(reference.rope(k, table), v, *expected, LAYOUT)

    torch.testing.assert_close(turned, reference.rope(q, table), rtol=0, atol=1e-6)
    assert torch.equal(bits(found[1]), bits(expected[1]))
    if form == torch.float32:
        torch.testing.assert_close(found[0], expected[0], rtol=0, atol=1e-6)
    else:  # what lies near a tie may be rounded the other way
        assert (bits(found[0]) != bits(expected[0])).float().mean() < 0.001


def test_half_rows_are_turned_in_float32():
    """And rounded once, ahead of the cache's own format."""
    q, k, v = (randn(ROWS, 16, 64, seed=seed, dtype=torch.float16) for seed in (1, 2, 3))
    table = reference.rope_table(torch.arange(ROWS), 100 ** -(torch.arange(32) / 32), 1.0)
    found, expected = (caches(F8, 16, 64, 64) for _ in range(2))
    turned = rope_cache_write(q, k, v, table, *found, LAYOUT)
    reference_attention.cache_write(reference.rope(k, table), v, *expected, LAYOUT)

    assert turned.dtype == torch.float16
    assert (turned != reference.rope(q, table)).float().mean() < 0.01
    assert_all_same(found, expected)


def test_a_device_before_sm_89_converts_by_hand(monkeypatch):
    """Later ones have instructions for it."""
    keys, _ = caches(F8, 1, 16, 16)
    found = {}
    for architecture in (80, 89, 90):
        monkeypatch.setattr(kept, "architecture", lambda _, n=architecture: n)
        found[architecture] = kept.format_of(keys)

    assert found == {80: kept.F8_BY_HAND, 89: kept.F8, 90: kept.F8}


def test_an_empty_slot_is_none():
    """A batch of nothing but filled-up rows writes nothing."""
    nowhere = replace(LAYOUT, slots=torch.full_like(LAYOUT.slots, -1))
    found, expected = (caches(torch.float32, 1, 16, 16) for _ in range(2))
    k = randn(ROWS, 1, 16)
    cache_write(k, k, *found, nowhere)

    assert_all_same(found, expected)
