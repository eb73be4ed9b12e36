import pytest
import torch

pytest.importorskip("triton", reason="Triton is for Linux alone")

from engine.kernels import reference_fused
from engine.kernels.triton.drawn import drawn_ids


def test_rows_become_the_tokens_that_were_drawn_in_them():
    """What is known stays; a row in which nothing could be drawn gives 0."""
    drawn = torch.tensor([70, -1, 72, -2])
    token_ids = torch.tensor([5, -1, 0, -3, -2, 9, -4])

    found = drawn_ids(token_ids, drawn)

    assert found.tolist() == [5, 70, 0, 72, 0, 9, 0]
    assert torch.equal(found, reference_fused.drawn_ids(token_ids, drawn))


def test_more_rows_than_a_program_has():
    generator = torch.Generator().manual_seed(1)
    drawn = torch.randint(-2, 1000, (64,), generator=generator)
    token_ids = torch.randint(-64, 1000, (2500,), generator=generator)

    found = drawn_ids(token_ids, drawn)

    assert torch.equal(found, reference_fused.drawn_ids(token_ids, drawn))
