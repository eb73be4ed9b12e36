from torch import Tensor

from engine.kernels import ops
from engine.nn.linear import Linear
from engine.nn.mlp import MLP, Activation
from engine.nn.module import Module
from engine.nn.moe import ExpertLinear, Router, combined


class PlainExperts(Module):
    """down(act(up(x))) of each chosen expert: (T, top_k, size)."""

    def __init__(self, size: int, inner_size: int, num_experts: int, act: Activation) -> None:
        super().__init__()
        self.up_proj = ExpertLinear(size, inner_size, num_experts)
        self.down_proj = ExpertLinear(inner_size, size, num_experts)
        self._act = act

    def __call__(self, x: Tensor, chosen: Tensor) -> Tensor:
        return self.down_proj(self._act(self.up_proj(x, chosen)), chosen)


class LatentMoE(Module):
    """Nemotron's: experts beside a shared one, which alone sees tokens in their full width.

    narrow, widen: to the experts' width and back, where that is not the stream's.
    """

    def __init__(
        self,
        router: Router,
        experts: PlainExperts,
        shared: MLP,
        *,
        narrow: Linear | None = None,
        widen: Linear | None = None,
    ) -> None:
        super().__init__()
        self.gate = router
        self.fc1_latent_proj = narrow
        self.experts = experts
        self.fc2_latent_proj = widen
        self.shared_experts = shared

    def __call__(self, x: Tensor) -> Tensor:
        chosen, weights = self.gate(x)
        narrow = self.fc1_latent_proj(x) if self.fc1_latent_proj else x
        mixed = combined(self.experts(narrow, chosen), weights, self.experts.down_proj)
        wide = self.fc2_latent_proj(mixed) if self.fc2_latent_proj else mixed
        return ops.add(wide, self.shared_experts(x))
