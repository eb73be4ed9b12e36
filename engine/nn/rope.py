from torch import Tensor

from engine.kernels import ops
from engine.nn.module import Module, Table
from engine.nn.rope_scaling import RopeParameters, frequencies


class Rope(Module):
    """Rotary positions of the first `rotary_dim` values of each head, in half-split pairs.

    "dynamic" ropes are plain here: no sequence is served beyond max_positions.
    """

    inv_freq: Tensor

    def __init__(self, parameters: RopeParameters, rotary_dim: int, max_positions: int) -> None:
        turned = frequencies(parameters, rotary_dim, max_positions)
        super().__init__(inv_freq=Table(turned.inv_freq))
        self._attention_factor = turned.attention_factor

    def table(self, positions: Tensor) -> Tensor:
        """Cosines and sines for positions (T,): (T, 2, rotary_dim / 2)."""
        return ops.rope_table(positions, self.inv_freq, self._attention_factor)
