"""The choice of experts in Triton against the reference; of equals the first, as the CPU has it."""

import pytest
import torch

pytest.importorskip("triton", reason="Triton is for Linux alone")

from engine.kernels import reference_moe as reference
from engine.kernels.routing import Routing
from engine.kernels.triton import routing as kernels

ROUTINGS = {
    "softmax": (12, Routing(4)),
    "softmax, renormalised": (7, Routing(3, renormalise=True)),
    "softmax of the chosen": (12, Routing(4, score="chosen_softmax")),
    "sigmoid, scaled": (16, Routing(5, score="sigmoid", renormalise=True, scaling=2.5)),
    "groups by their best": (
        20,
        Routing(3, scaling=1.5, num_groups=4, top_groups=2, group_score="best"),
    ),
    "groups by their best two": (
        18,
        Routing(4, score="sigmoid", renormalise=True, num_groups=6, top_groups=3),
    ),
    "all groups": (8, Routing(2, num_groups=4, top_groups=4)),
    "sparsemixer": (9, Routing(2, score="sparsemixer", jitter=0.05)),
    "one expert": (1, Routing(1, renormalise=True)),
}


def logits_of(rows, num_experts, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, num_experts, generator=generator)


@pytest.fixture(params=ROUTINGS)
def case(request):
    num_experts, routing = ROUTINGS[request.param]
    return logits_of(3, num_experts), routing


@pytest.mark.parametrize("is_biased", [False, True])
def test_route_is_as_the_reference(case, is_biased):
    """Which, in which order, and what they weigh."""
    logits, routing = case
    bias = logits_of(1, logits.shape[1], seed=1)[0] if is_biased else None
    chosen, weights = kernels.route(logits, routing, bias)

    expected = reference.choose_experts(logits, routing, bias)
    assert torch.equal(chosen, expected)
    torch.testing.assert_close(
        weights, reference.weigh_experts(logits, expected, routing), rtol=2e-6, atol=1e-7
    )


def test_its_halves_are_as_the_whole(case):
    logits, routing = case
    bias = logits_of(1, logits.shape[1], seed=2)[0]
    whole, weights = kernels.route(logits, routing, bias)
    chosen = kernels.choose_experts(logits, routing, bias)

    assert torch.equal(chosen, whole)
    assert torch.equal(kernels.weigh_experts(logits, chosen, routing), weights)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("score", ["softmax", "sigmoid", "chosen_softmax", "sparsemixer"])
def test_of_equals_the_first_is_chosen(score):
    """Zeros of either sign are equal."""
    logits = torch.tensor([[1.0, 0.0, 1.0, -0.0, 0.0], [-0.0, 0.0, -0.0, -1.0, 0.0]])
    chosen = kernels.choose_experts(logits, Routing(4, score=score))

    assert chosen.tolist() == [[0, 2, 1, 3], [0, 1, 2, 4]]


def test_equal_groups_keep_the_first():
    routing = Routing(2, score="chosen_softmax", num_groups=4, top_groups=2)
    chosen = kernels.choose_experts(torch.zeros(1, 8), routing)

    assert chosen.tolist() == [[0, 1]]


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # numpy's, of the interpreter
@pytest.mark.parametrize("name", ["softmax", "sigmoid, scaled", "groups by their best two"])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_bad_logits_choose_experts_that_exist_and_spoil_no_other_row(name, bad):
    num_experts, routing = ROUTINGS[name]
    logits = logits_of(3, num_experts)
    good, good_weights = kernels.route(logits, routing)
    logits[1, 2:] = bad
    chosen, weights = kernels.route(logits, routing)

    assert torch.equal(chosen[[0, 2]], good[[0, 2]])
    assert torch.equal(weights[[0, 2]], good_weights[[0, 2]])
    assert len(set(chosen[1].tolist())) == routing.top_k
    assert ((chosen[1] >= 0) & (chosen[1] < num_experts)).all()


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_a_nan_shows_in_its_rows_weights():
    logits = logits_of(2, 8)
    logits[0, 5] = torch.nan
    chosen, weights = kernels.route(logits, Routing(2, score="sigmoid"))

    assert chosen[0, 0] == 5
    assert weights[0].isnan().any()
    assert weights[1].isfinite().all()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40))
def test_random_routers(seed):
    generator = torch.Generator().manual_seed(seed)

    def pick(*values):
        return values[int(torch.randint(len(values), (1,), generator=generator))]

    score = pick("softmax", "sigmoid", "chosen_softmax", "sparsemixer")
    groups, size = pick((1, 64), (1, 512), (8, 32), (8, 20), (5, 7), (2, 2))
    routing = Routing(
        pick(1, 2, 4),
        score=score,
        renormalise=pick(True, False),
        scaling=pick(1.0, 2.5),
        num_groups=groups,
        top_groups=pick(groups, max(2, groups // 2)),
        group_score=pick("best", "best_two"),
        jitter=pick(0.01, 0.1),
    )
    logits = torch.randn(8, groups * size, generator=generator) * pick(0.1, 1.0, 20.0)
    bias = pick(None, torch.randn(groups * size, generator=generator))
    chosen, weights = kernels.route(logits, routing, bias)

    expected = reference.choose_experts(logits, routing, bias)
    expected_weights = reference.weigh_experts(logits, expected, routing)
    if not torch.equal(chosen, expected):  # saturated scores are equal
        judged = reference._scores(logits, routing) if bias is None else expected_weights
        assert bias is None
        assert torch.equal(judged.gather(1, chosen), judged.gather(1, expected))
    torch.testing.assert_close(weights, expected_weights, rtol=1e-5, atol=1e-7)
