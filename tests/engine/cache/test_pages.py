"""Which pages belong to which rows."""

import pytest
import torch

from engine.cache.pages import give_back_rows, spans_of, whole_pages


@pytest.mark.parametrize(
    ("rows", "spans"),
    [
        ([], []),
        ([2], [(2, 3)]),
        ([4, 0, 1], [(0, 2), (4, 5)]),
        (range(5), [(0, 5)]),
    ],
)
def test_stretches_are_as_long_as_they_can_be(rows, spans):
    """In whatever order the rows come."""
    assert spans_of(rows) == spans


@pytest.mark.parametrize(
    ("address", "span", "pages"),
    [
        (4096, (0, 2), (4096, 8192)),  # two rows of half a page
        (4096, (1, 4), (8192, 12288)),  # the first half belongs to row 0
        (4112, (0, 4), (8192, 12288)),  # what begins within a page shares its first and last one
        (4096, (1, 2), (8192, 8192)),  # no whole page
    ],
)
def test_only_whole_pages_are_anybodys(address, span, pages):
    """A page with a byte of another row stays."""
    assert whole_pages(address, span, 2048, 4096) == pages


@pytest.mark.parametrize("shape", [(0, 4), (4, 0)])
def test_what_has_no_bytes_gives_none_back(shape):
    """A layer that keeps nothing is no special case for who calls."""
    assert give_back_rows(torch.zeros(shape), [(0, 4)]) == 0
