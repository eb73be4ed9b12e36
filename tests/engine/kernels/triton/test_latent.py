"""Latent attention in Triton against the reference."""

from dataclasses import replace

import pytest
import torch

pytest.importorskip("triton", reason="Triton is for Linux alone")

from engine.kernels import reference_latent
from engine.kernels.triton import latent, launches
from engine.kernels.triton.latent import latent_attention, latent_tile
from tests.engine.kernels.triton.paged import BATCHES, cache_of, layout_of, randn, unbounded

HEADS, DIM, VALUE_DIM = 3, 48, 32


def both(layout, *, heads=HEADS, dim=DIM, value_dim=VALUE_DIM, chosen=None, dtype=torch.float32):
    """What the kernel and the reference give."""
    latents = cache_of(layout, dim, dtype=dtype)
    q = randn(len(layout.slots), heads, dim, dtype=dtype)
    return tuple(
        attend(q, latents, layout, scale=0.3, value_dim=value_dim, chosen=chosen)
        for attend in (latent_attention, reference_latent.latent_attention)
    )


def assert_same(found, expected, tolerance=1e-5):
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)


@pytest.fixture
def in_parts(monkeypatch):
    """Parts as of long sequences on a large GPU."""
    monkeypatch.setattr(launches, "_SPLIT_TOKENS", 8)
    monkeypatch.setattr(
        latent, "latent_tile", lambda *a, **k: replace(latent_tile(*a, **k), block_n=16)
    )


def choices(layout, top_k):
    """Some tokens for each row, of which the last may not be there, -1, or lie behind the row."""
    length = int(layout.context_lens.max())
    draws = torch.rand(len(layout.slots), length, generator=torch.Generator().manual_seed(3))
    chosen = draws.topk(top_k).indices
    chosen[:, -2] = -1
    for sequence, (start, end) in enumerate(layout.query_starts.unfold(0, 2, 1).tolist()):
        own = chosen[start:end]
        own[own >= layout.context_lens[sequence]] = -1
        own[:, -1] = (
            layout.context_lens[sequence] - end + torch.arange(start, end)
        )  # the row itself
        own[:, :-1][own[:, :-1] == own[:, -1:]] = -1
    return chosen


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "batch", ["a mixture", *(pytest.param(b, marks=SLOW) for b in BATCHES if b != "a mixture")]
)
def test_rows_see_what_the_reference_sees(batch):
    found, expected = both(layout_of(*BATCHES[batch]))

    assert_same(found, expected)


@pytest.mark.parametrize("batch", ["decodes", "a mixture"])
def test_parts_are_joined(batch, in_parts):
    """Also of batches that were filled up, whose further rows are zero."""
    found, expected = both(layout_of(*BATCHES[batch], filled_up=1))

    assert_same(found, expected)
    assert (found[-1] == 0).all()


@pytest.mark.parametrize(
    ("batch", "parts"),
    [
        ("decodes", True),
        ("a mixture", False),
        pytest.param("decodes", False, marks=SLOW),
        pytest.param("a mixture", True, marks=SLOW),
    ],
)
def test_rows_see_what_was_chosen_alone(batch, parts, request):
    """Each row has its own choice; what lies behind it stays hidden."""
    if parts:
        request.getfixturevalue("in_parts")
    layout = layout_of(*BATCHES[batch])
    found, expected = both(layout, heads=2, chosen=choices(layout, 20 if parts else 12))

    assert_same(found, expected)


def test_no_bound_is_needed():
    found, expected = both(unbounded(layout_of(*BATCHES["a mixture"])))

    assert_same(found, expected)


@pytest.mark.parametrize(("heads", "dim", "value_dim"), [(1, 40, 24), (20, 32, 32), (4, 80, 64)])
def test_any_heads_and_sizes(heads, dim, value_dim):
    """A latent may have nothing but the value."""
    found, expected = both(layout_of([1, 4], [18, 20]), heads=heads, dim=dim, value_dim=value_dim)

    assert_same(found, expected)


def test_values_of_sixteen_bits():
    found, expected = both(layout_of(*BATCHES["a mixture"]), dtype=torch.float16)

    assert found.dtype == torch.float16
    assert_same(found, expected, 2e-3)
