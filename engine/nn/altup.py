"""Alternating Updates, Gemma 3n's (arXiv:2301.13310): parallel streams of which layers change one.

A layer reads a prediction of the first stream, and what it makes of it corrects all of them.
"""

from typing import Protocol

from torch import Tensor

from engine.kernels import ops
from engine.kernels.weight import Weight
from engine.nn.linear import Linear
from engine.nn.module import Matrix, Module, Vector
from engine.nn.norm import RMSNorm
from engine.nn.per_layer import PerLayerConfig, PerLayerInputs
from engine.nn.step import Step


class AltUpConfig(PerLayerConfig, Protocol):
    @property
    def altup_num_inputs(self) -> int: ...


class Projections(Module):
    """A square matrix for each stream after the first, one under the other."""

    weight: Weight

    def __init__(self, size: int, count: int) -> None:
        super().__init__(weight=Matrix(size, size, count=count))


class Streams(Module):
    """Embeddings to streams (T, num_inputs, hidden_size), and those to one hidden state again.

    All streams have the root mean square of the first, on the way in and on the way out.
    """

    def __init__(self, c: AltUpConfig) -> None:
        super().__init__()
        self._size = c.hidden_size
        self._num_others = c.altup_num_inputs - 1
        self.per_layer = PerLayerInputs(c)
        self.projections = Projections(c.hidden_size, self._num_others)
        self.unembed_projections = Projections(c.hidden_size, self._num_others)

    def enter(self, x: Tensor, step: Step) -> Tensor:
        self.per_layer.compute(x, step)
        projected = ops.linear(x, self.projections.weight)
        others = ops.match_rms(ops.split_heads(projected, self._num_others), x)
        return ops.split_heads(ops.concat(x, ops.merge_heads(others)), 1 + self._num_others)

    def leave(self, x: Tensor) -> Tensor:
        flat, end = ops.merge_heads(x), self._size * (1 + self._num_others)
        others = ops.split_heads(ops.select_columns(flat, self._size, end), self._num_others)
        projected = ops.head_linear(others, self.unembed_projections.weight, 0, self._size)
        total = first = ops.select_stream(x, 0)
        others = ops.match_rms(projected, first)
        for index in range(self._num_others):
            total = ops.add(total, ops.select_stream(others, index))
        return ops.scale(total, 1 / (1 + self._num_others))


class AltUp(Module):
    """One layer's prediction and correction, weighed by what a router makes of the first stream."""

    correct_output_scale: Tensor

    def __init__(self, c: AltUpConfig) -> None:
        super().__init__(correct_output_scale=Vector(c.hidden_size, wide=True))
        count = c.altup_num_inputs
        self.router_norm = RMSNorm(c.hidden_size, c.rms_norm_eps)
        self.modality_router = Linear(c.hidden_size, count)
        self.prediction_coefs = Linear(count, count**2)
        self.correction_coefs = Linear(count, count)
        self._router_scale = 1 / c.hidden_size

    def predict(self, streams: Tensor) -> Tensor:
        modalities = self._modalities(ops.select_stream(streams, 0))
        return ops.mix_streams(streams, self.prediction_coefs(modalities))

    def correct(self, predicted: Tensor, activated: Tensor) -> Tensor:
        """All streams, by how far `activated` is from the prediction of the first."""
        coefficients = self.correction_coefs(self._modalities(activated))
        return ops.correct_streams(predicted, activated, coefficients)

    def scaled_first(self, corrected: Tensor) -> Tensor:
        return ops.mul(ops.select_stream(corrected, 0), self.correct_output_scale)

    def _modalities(self, x: Tensor) -> Tensor:
        routed = self.modality_router(ops.scale(self.router_norm(x), self._router_scale))
        return ops.softcap(routed, 1.0)  # tanh
