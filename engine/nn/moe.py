"""Mixtures of experts: a router picks, for each token, few of many feed-forward networks.

A family makes one of three parts, with its own sizes and `Routing`:

    MoE(
        Router(c.hidden_size, c.num_experts, Routing(c.num_experts_per_tok, renormalise=True)),
        Experts(c.hidden_size, c.moe_intermediate_size, c.num_experts),
        shared=GatedMLP(c, intermediate_size=c.shared_expert_intermediate_size),
    )

and takes `engine.models.moe_names.MOE_NAMES` for where their tensors are.
"""

from typing import Protocol

from torch import Tensor

from engine.kernels import ops
from engine.kernels.routing import Routing
from engine.kernels.weight import Weight
from engine.nn.linear import Linear
from engine.nn.mlp import Gate
from engine.nn.module import Matrix, Module, Vector


class _Network(Protocol):
    def __call__(self, x: Tensor) -> Tensor: ...


class Router(Module):
    """Which experts a token goes to, and what each counts for: (T, top_k) both.

    Its matrix is float32 whatever the model computes in: a near tie decides which weights are used.
    bias: of the logits. corrects: there is an e_score_correction_bias, which weighs in on the
    choice alone.
    """

    weight: Weight
    bias: Tensor | None = None
    e_score_correction_bias: Tensor | None = None

    def __init__(
        self,
        hidden_size: int,
        num_experts: int,
        routing: Routing,
        *,
        bias: bool = False,
        corrects: bool = False,
    ) -> None:
        super().__init__(weight=Matrix(num_experts, hidden_size, wide=True))
        if bias:
            self.slots["bias"] = Vector(num_experts, wide=True)
        if corrects:
            self.slots["e_score_correction_bias"] = Vector(num_experts, wide=True)
        self._routing = routing

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logits = ops.linear(x, self.weight, self.bias)
        chosen = ops.choose_experts(logits, self._routing, self.e_score_correction_bias)
        return chosen, ops.weigh_experts(logits, chosen, self._routing)


class ExpertLinear(Module):
    """A `Linear` of every expert, stacked: x (T, in) or (T, top_k, in) to (T, top_k, out).

    Where ranks have some of its inputs each, `combined` adds their products up.
    """

    divides = True
    weight: Weight
    bias: Tensor | None = None

    def __init__(
        self, in_features: int, out_features: int, num_experts: int, *, bias: bool = False
    ) -> None:
        super().__init__(weight=Matrix(out_features, in_features, num_experts))
        if bias:
            self.slots["bias"] = Vector(out_features, count=num_experts)
        self._num_experts = num_experts

    def __call__(self, x: Tensor, chosen: Tensor) -> Tensor:
        return ops.expert_linear(x, self.weight, chosen, self._num_experts, self.bias)


def combined(outputs: Tensor, weights: Tensor, last: ExpertLinear) -> Tensor:
    """What the chosen experts say together, (T, n) float32; outputs: (T, top_k, n), of `last`."""
    result = ops.combine_experts(outputs, weights)
    return result if last.group is None else ops.all_reduce(result, last.group)


class Experts(Module):
    """down(act(gate(x)) * up(x)) of each chosen expert: (T, top_k, hidden_size)."""

    def __init__(
        self,
        hidden_size: int,
        intermediate_size: int,
        num_experts: int,
        *,
        act: Gate = ops.silu_mul,
        bias: bool = False,
    ) -> None:
        super().__init__()
        sizes = hidden_size, intermediate_size, num_experts
        self.gate_proj = ExpertLinear(*sizes, bias=bias)
        self.up_proj = ExpertLinear(*sizes, bias=bias)
        self.down_proj = ExpertLinear(intermediate_size, hidden_size, num_experts, bias=bias)
        self._act = act

    def __call__(self, x: Tensor, chosen: Tensor) -> Tensor:
        gated = self._act(self.gate_proj(x, chosen), self.up_proj(x, chosen))
        return self.down_proj(gated, chosen)


class MoE(Module):
    """The weighted sum of the chosen experts, and what all tokens get beside it.

    shared: a network that every token goes through. shared_gate: a row whose product with x says,
    through a sigmoid, how much of it (Qwen2-MoE).
    """

    def __init__(
        self,
        router: Router,
        experts: Experts,
        *,
        shared: _Network | None = None,
        shared_gate: Linear | None = None,
    ) -> None:
        super().__init__()
        self.gate = router
        self.experts = experts
        self.shared_experts = shared
        self.shared_expert_gate = shared_gate

    def __call__(self, x: Tensor) -> Tensor:
        chosen, weights = self.gate(x)
        result = combined(self.experts(x, chosen), weights, self.experts.down_proj)
        if self.shared_experts is None:
            return result
        shared = self.shared_experts(x)
        if self.shared_expert_gate is not None:
            shared = ops.sigmoid_mul(self.shared_expert_gate(x), shared)
        return ops.add(result, shared)
