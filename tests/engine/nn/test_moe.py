import torch
from torch.nn import functional as F  # noqa: N812  # torch's own name for it

from engine.kernels.routing import Routing
from engine.kernels.weight import Weight
from engine.nn.linear import Linear
from engine.nn.module import Matrix, parameters
from engine.nn.moe import Experts, MoE, Router

HIDDEN, SIZE, EXPERTS = 8, 6, 5


def filled(model):
    """The block with random parameters."""
    for parameter in parameters(model):
        slot = parameter.slot
        if isinstance(slot, Matrix):
            parameter.set(Weight.dense(torch.randn(slot.weight_shape)))
        else:
            parameter.set(torch.randn(slot.shape))
    return model


def mixture(*, shared=None, shared_gate=None):
    router = Router(HIDDEN, EXPERTS, Routing(2, renormalise=True), bias=True)
    experts = Experts(HIDDEN, SIZE, EXPERTS, bias=True)
    return filled(MoE(router, experts, shared=shared, shared_gate=shared_gate))


def by_hand(moe: MoE, x: torch.Tensor) -> torch.Tensor:
    """One row through its experts, one after the other."""
    probabilities = F.linear(x, moe.gate.weight.data, moe.gate.bias).softmax(-1)
    weights, chosen = probabilities.topk(2)

    def layer(name, given, expert):
        linear = getattr(moe.experts, name)
        matrices = linear.weight.data.view(EXPERTS, -1, len(given))
        return F.linear(given, matrices[expert], linear.bias[expert])

    total = torch.zeros(HIDDEN)
    for weight, expert in zip(weights / weights.sum(), chosen, strict=True):
        gated = F.silu(layer("gate_proj", x, expert)) * layer("up_proj", x, expert)
        total += weight * layer("down_proj", gated, expert)
    return total


def test_a_mixture_is_the_weighted_sum_of_its_experts():
    """Row by row, by the formula."""
    moe, x = mixture(), torch.randn(7, HIDDEN)

    expected = torch.stack([by_hand(moe, row) for row in x])
    assert torch.allclose(moe(x), expected, atol=1e-5)


def test_what_is_shared_comes_on_top():
    """All tokens go through it, as far as a gate lets them."""
    x = torch.randn(7, HIDDEN)
    moe = mixture(shared=Linear(HIDDEN, HIDDEN), shared_gate=Linear(HIDDEN, 1))
    gated, moe.shared_expert_gate = moe.shared_expert_gate, None
    alone = moe(x) - moe.shared_experts(x)
    moe.shared_expert_gate = gated

    expected = alone + gated(x).sigmoid() * moe.shared_experts(x)
    assert torch.allclose(moe(x), expected, atol=1e-5)


def test_the_router_decides_in_float32():
    """Rounding it would send tokens to other experts where two nearly tie."""
    slots = {parameter.path: parameter.slot for parameter in parameters(mixture())}

    assert all(slot.wide for path, slot in slots.items() if path.startswith("gate."))
    assert not any(slot.wide for path, slot in slots.items() if path.startswith("experts."))
