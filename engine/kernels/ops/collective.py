"""What ranks that compute one model together say to each other."""

from torch import Tensor

from engine.kernels.group import Group
from engine.kernels.ops.op import like, op


@op
def all_reduce(x: Tensor, group: Group) -> Tensor:
    """The sum of every rank's x, the same on all: of x's shape and dtype."""
    return like(x, *x.shape)
