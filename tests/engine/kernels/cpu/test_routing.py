"""Native routing and streams against their references, with every instruction set."""

import pytest
import torch
from torch import Tensor

from engine.kernels import ops
from engine.kernels.routing import Routing
from tests.engine.native_ops import run
from tests.engine.tiled_weights import ISAS, limited_to, needs_library

pytestmark = needs_library

ROUTINGS = (
    Routing(2),
    Routing(8, renormalise=True, scaling=2.5),
    Routing(4, score="sigmoid", renormalise=True),
    Routing(6, score="sigmoid", num_groups=4, top_groups=2, scaling=1.5),
    Routing(6, num_groups=8, top_groups=3, group_score="best"),
    Routing(4, score="chosen_softmax"),
    Routing(2, score="sparsemixer", jitter=0.01),
    Routing(2, score="sparsemixer", jitter=0.4),
)

SIZES = (1, 15, 17, 1000)


def assert_close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("routing", ROUTINGS)
@pytest.mark.parametrize("num_experts", [8, 24, 128])
def test_experts_and_their_weights(isa: str, routing: Routing, num_experts: int):
    """The same experts in the same order, with the same weights."""
    torch.manual_seed(5)  # of scores that are equal but for rounding, either may come first
    with limited_to(isa):
        for rows in (1, 5, 300):
            logits, bias = torch.randn(rows, num_experts) * 2, torch.randn(num_experts) * 0.1
            if routing.num_groups == 1 or num_experts // routing.num_groups >= 3:
                for given in ((), (bias,)):
                    chosen = run("choose_experts", logits, routing, *given)
                    assert torch.equal(chosen, ops.choose_experts(logits, routing, *given))
            chosen = ops.choose_experts(logits, routing)
            weights = run("weigh_experts", logits, chosen, routing)
            assert_close(weights, ops.weigh_experts(logits, chosen, routing))


def test_scores_that_are_no_numbers():
    """The experts are some of those that there are, each once."""
    logits = torch.full((3, 8), torch.nan)
    logits[1, 3:] = -torch.inf
    logits[2] = -torch.inf
    chosen = run("choose_experts", logits, Routing(4, score="chosen_softmax"))

    assert all(set(row) <= set(range(8)) and len(set(row)) == 4 for row in chosen.tolist())


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("rows", [1, 6, 70])
def test_experts_are_summed(isa: str, size: int, rows: int):
    """By their weights."""
    outputs, weights = torch.randn(rows, 3, size), torch.rand(rows, 3)
    with limited_to(isa):
        assert_close(
            run("combine_experts", outputs, weights), ops.combine_experts(outputs, weights)
        )


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("rows", [1, 6, 70])
def test_streams(isa: str, size: int, rows: int):
    """Mixed, corrected, added to and scaled to each other."""
    streams, x = torch.randn(rows, 4, size), torch.randn(rows, size)
    streams[0, 1] = 1e-4
    mixing, correction = torch.randn(rows, 16), torch.randn(rows, 4)
    with limited_to(isa):
        assert_close(run("match_rms", streams, x), ops.match_rms(streams, x))
        assert_close(run("mix_streams", streams, mixing), ops.mix_streams(streams, mixing))
        corrected = run("correct_streams", streams, x, correction)
        assert_close(corrected, ops.correct_streams(streams, x, correction))
        assert_close(run("add_to_later", streams, x), ops.add_to_later(streams, x))
        assert torch.equal(run("select_stream", streams, 2), ops.select_stream(streams, 2))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(("keys", "values"), [(1, 1), (15, 17), (64, 64)])
def test_what_a_row_says_to_itself(isa: str, keys: int, values: int):
    """By head."""
    r, k, v = torch.randn(9, 3, keys), torch.randn(9, 3, keys), torch.randn(9, 3, values)
    factors = torch.randn(3, keys)
    with limited_to(isa):
        assert_close(run("rwkv7_bonus", r, k, v, factors), ops.rwkv7_bonus(r, k, v, factors))
