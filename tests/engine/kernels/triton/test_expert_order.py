"""Pairs of row and expert, in tiles of one expert each."""

import pytest
import torch

pytest.importorskip("triton", reason="Triton is for Linux alone")

from engine.kernels.triton import expert_order as order_module
from engine.kernels.triton.expert_order import expert_order


def tiles_of(order):
    """(expert, its pairs) of each tile that has one."""
    pairs = order.pairs.view(-1, order.rows)
    return [
        (int(expert), [int(pair) for pair in own if pair < order.num_pairs])
        for expert, own in zip(order.experts, pairs, strict=True)
        if expert >= 0
    ]


@pytest.mark.parametrize(
    ("rows", "top_k", "num_experts", "chunk"),
    [(1, 1, 3, 1024), (9, 2, 4, 1024), (30, 3, 5, 16), (40, 2, 2, 16), (3, 2, 11, 16)],
)
def test_every_pair_stands_once_in_a_tile_of_its_expert(
    rows, top_k, num_experts, chunk, monkeypatch
):
    """In order, and no tile but an expert's last is not full."""
    monkeypatch.setattr(order_module, "order_blocks", lambda _: {"CHUNK": chunk})
    generator = torch.Generator().manual_seed(rows)
    scores = torch.rand(rows, num_experts, generator=generator)
    chosen = scores.topk(top_k).indices
    order = expert_order(chosen, num_experts, 16)

    flat = chosen.flatten().tolist()
    expected = []
    for expert in range(num_experts):
        own = [pair for pair, one in enumerate(flat) if one == expert]
        expected += [(expert, own[start : start + 16]) for start in range(0, len(own), 16)]
    assert tiles_of(order) == expected
    left_over = order.experts[len(expected) :]
    assert (left_over == -1).all()
    used = order.pairs[: len(expected) * 16]
    assert ((used >= 0) & (used <= len(flat))).all()


def test_there_are_tiles_enough_in_the_worst_case():
    """Each expert has one pair more than fills its tiles."""
    chosen = torch.arange(3).repeat(17)[:, None]
    order = expert_order(chosen, 3, 16)

    assert (order.experts >= 0).all()
    assert [len(own) for _, own in tiles_of(order)] == [16, 1] * 3
