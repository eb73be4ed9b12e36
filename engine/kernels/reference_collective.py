from torch import Tensor

from engine.kernels.group import Group
from engine.kernels.registry import register


@register("all_reduce")
def all_reduce(x: Tensor, group: Group) -> Tensor:
    if group.sum is None:
        raise RuntimeError("a part of a model runs before its ranks have met")
    return group.sum(x)
