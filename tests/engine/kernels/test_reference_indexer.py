import pytest
import torch

from engine.kernels import ops, reference_indexer
from tests.engine.batches import layout_of

HEADS, DIM, TOP_K = 3, 6, 4
NUM_ROWS, LENGTHS = [5, 1, 1], [9, 7, 3]
TABLES = torch.tensor([[4, 1, 5], [0, 2, 0], [3, 0, 0]])


@pytest.fixture(params=["at once", "row by row"])
def slices(request, monkeypatch) -> None:
    if request.param == "row by row":
        monkeypatch.setattr(reference_indexer, "SCORES_BYTES", 1)


@pytest.mark.usefixtures("slices")
def test_each_row_gets_the_best_of_what_it_may_see():
    """Sequences apart, nothing of the future, and -1 where there are fewer tokens than places."""
    layout = layout_of(NUM_ROWS, LENGTHS, TABLES, 4)
    q, weights = torch.randn(7, HEADS, DIM), torch.randn(7, HEADS)
    keys = [torch.randn(length, DIM) for length in LENGTHS]
    cache = torch.full((6, 4, DIM), torch.nan)
    for table, key in zip(TABLES, keys, strict=True):
        for position, row in enumerate(key):
            cache[table[position // 4], position % 4] = row

    chosen = ops.choose_tokens(q, weights, cache, layout, TOP_K)

    sequences = [0] * 5 + [1, 2]
    positions = [4, 5, 6, 7, 8, 6, 2]
    for row, (sequence, position) in enumerate(zip(sequences, positions, strict=True)):
        seen = keys[sequence][: position + 1]
        worth = weights[row] @ (q[row] @ seen.T).relu()
        best = worth.topk(min(TOP_K, position + 1)).values
        found = chosen[row][chosen[row] >= 0]
        # Tokens that no head likes are worth 0 alike, so what is compared is their worth.
        assert torch.allclose(worth[found].sort(descending=True).values, best, atol=1e-5)
        assert len(found.unique()) == len(best)


def test_only_chosen_tokens_are_attended():
    """A row that may see one token gets that token's value."""
    layout = layout_of([3], [3], torch.tensor([[1]]), 4)
    latents, q = torch.zeros(2, 4, 6), torch.randn(3, 2, 6)
    rows = torch.randn(3, 6)
    ops.latent_write(rows, latents, layout)
    chosen = torch.tensor([[0, -1], [0, -1], [1, -1]])

    found = ops.latent_attention(q, latents, layout, scale=1.0, value_dim=5, chosen=chosen)

    assert torch.allclose(found, rows[[0, 0, 1], None, :5].expand(3, 2, 5))
