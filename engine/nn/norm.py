from torch import Tensor

from engine.kernels import ops
from engine.nn.module import Module, Vector


class RMSNorm(Module):
    """Root mean square norm over the last axis. The weight multiplies as it is stored here.

    Families whose files hold w for a factor of 1 + w add the one when they are loaded.
    """

    weight: Tensor

    def __init__(self, size: int, eps: float) -> None:
        super().__init__(weight=Vector(size, wide=True))
        self._eps = eps

    def __call__(self, x: Tensor) -> Tensor:
        return ops.rms_norm(x, self.weight, self._eps)
