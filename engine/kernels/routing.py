"""How a mixture of experts picks: settings of the ops `choose_experts` and `weigh_experts`."""

from dataclasses import dataclass
from typing import Literal

Score = Literal["softmax", "sigmoid", "chosen_softmax", "sparsemixer"]


@dataclass(frozen=True, slots=True)
class Routing:
    """Which `top_k` experts a token goes to, and with what weights.

    score: what a router's logits become, in float32.
        "softmax", "sigmoid": over all experts; the best are chosen by it, and it is their weight
        "chosen_softmax": the best logits are chosen, their softmax among themselves is their weight
        "sparsemixer": SparseMixer's two, arXiv:2409.12136, each the best of those left and weighed
            among those that come within 2 * `jitter` of it
    renormalise: weights are divided by their sum (plus 1e-20, as DeepSeek has it)
    scaling: factor on the weights, after that
    num_groups, top_groups: experts stand in so many groups of neighbours, and only those of the
        best groups are chosen from; all where they are equal
    group_score: a group is as good as its best expert (DeepSeek-V2, "group_limited_greedy"), or as
        its best two together (DeepSeek-V3, "noaux_tc")

    A bias given to `choose_experts` changes which are chosen, never what they weigh.
    """

    top_k: int
    score: Score = "softmax"
    renormalise: bool = False
    scaling: float = 1.0
    num_groups: int = 1
    top_groups: int = 1
    group_score: Literal["best", "best_two"] = "best_two"
    jitter: float = 0.0
