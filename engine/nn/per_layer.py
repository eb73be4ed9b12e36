"""Per-layer embeddings, Gemma's since 3n: each layer adds something of its own for each token."""

from typing import Protocol

from torch import Tensor

from engine.kernels import ops
from engine.nn.config import DecoderConfig
from engine.nn.linear import Embedding, Linear
from engine.nn.module import Module
from engine.nn.norm import RMSNorm
from engine.nn.step import Step


class PerLayerConfig(DecoderConfig, Protocol):
    @property
    def hidden_size_per_layer_input(self) -> int: ...
    @property
    def vocab_size_per_layer_input(self) -> int: ...


class PerLayerInputs(Module):
    """A second embedding of each token, of all layers at once, joined with one made of the first.

    Tokens beyond the second's vocabulary (pictures, sounds) have that of token 0.
    """

    def __init__(self, c: PerLayerConfig) -> None:
        super().__init__()
        width = c.num_hidden_layers * c.hidden_size_per_layer_input
        self.embed_tokens = Embedding(c.vocab_size_per_layer_input, width)
        self.projection = Linear(c.hidden_size, width)
        self.norm = RMSNorm(c.hidden_size_per_layer_input, c.rms_norm_eps)
        self._size = c.hidden_size_per_layer_input
        self._num_layers = c.num_hidden_layers
        self._vocab_size = c.vocab_size_per_layer_input
        self._is_short = c.vocab_size_per_layer_input < c.vocab_size
        self._projection_scale = c.hidden_size**-0.5

    def compute(self, x: Tensor, step: Step) -> None:
        """Of embeddings x (T, hidden_size), for the layers to read with `of`."""
        ids = step.batch.token_ids
        if self._is_short:
            ids = ops.ids_below(ids, self._vocab_size)
        embedded = ops.scale(self.embed_tokens(ids), self._size**0.5)
        projected = ops.scale(self.projection(x), self._projection_scale)
        normed = self.norm(ops.split_heads(projected, self._num_layers))
        step.kept[self] = ops.scale(ops.add(ops.merge_heads(normed), embedded), 0.5**0.5)

    def of(self, layer: int, step: Step) -> Tensor:
        """(T, hidden_size_per_layer_input), float32."""
        return ops.select_columns(step.kept[self], layer * self._size, (layer + 1) * self._size)


class PerLayerGate(Module):
    """What a layer adds: of its per-layer inputs as much as x lets through, projected and normed."""

    def __init__(self, c: PerLayerConfig, inputs: PerLayerInputs, layer: int) -> None:
        super().__init__()
        self.gate = Linear(c.hidden_size, c.hidden_size_per_layer_input)
        self.projection = Linear(c.hidden_size_per_layer_input, c.hidden_size)
        self.norm = RMSNorm(c.hidden_size, c.rms_norm_eps)
        self._inputs = inputs
        self._layer = layer

    def __call__(self, x: Tensor, step: Step) -> Tensor:
        gated = ops.gelu_tanh_mul(self.gate(x), self._inputs.of(self._layer, step))
        return self.norm(self.projection(gated))
