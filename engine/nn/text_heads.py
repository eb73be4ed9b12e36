"""What makes a text's one row of its hidden states: a vector, or a score."""

from collections.abc import Callable, Sequence
from typing import Protocol

from torch import Tensor

from engine.kernels import ops
from engine.kernels.batch import BatchLayout
from engine.kernels.ops.encoding import RowPooling
from engine.nn.config import BaseConfig
from engine.nn.linear import Linear
from engine.nn.mlp import Activation
from engine.nn.module import Module

UNIT_EPS = 1e-24
"""Beside a vector's squared length, so that one of zeros stays one; torch's `normalize` has its root."""


class TextHead(Protocol):
    """Hidden states (T, hidden_size) to a row of each sequence: (B, result_size), float32."""

    result_size: int

    def __call__(self, x: Tensor, layout: BatchLayout) -> Tensor: ...


class Pooler(Module):
    """A text's vector. is_unit: of length 1.

    dense_sizes: widths that up to two matrices bring it to, one after the other; they are called by
    their places among sentence-transformers' modules.
    """

    def __init__(
        self,
        hidden_size: int,
        pooling: RowPooling,
        *,
        is_unit: bool,
        dense_sizes: Sequence[int] = (),
    ) -> None:
        super().__init__()
        sizes = [hidden_size, *dense_sizes]
        self.dense_2 = Linear(*sizes[:2]) if dense_sizes else None
        self.dense_3 = Linear(*sizes[1:]) if len(dense_sizes) > 1 else None
        self.result_size = sizes[-1]
        self._pooling, self._is_unit = pooling, is_unit

    def __call__(self, x: Tensor, layout: BatchLayout) -> Tensor:
        pooled = ops.pool_rows(x, layout, pooling=self._pooling)
        for dense in (self.dense_2, self.dense_3):
            pooled = ops.widen(dense(pooled)) if dense else pooled
        return ops.l2_norm(pooled, UNIT_EPS) if self._is_unit else pooled


class ScoreHead(Module):
    """One number for a pair of texts: the higher, the better they match.

    norm: makes the norm between the two matrices, of families that have one.
    """

    result_size = 1

    def __init__(
        self,
        c: BaseConfig,
        *,
        pooling: RowPooling = "first",
        act: Activation = ops.tanh,
        dense_bias: bool = True,
        norm: Callable[[BaseConfig], Activation] | None = None,
    ) -> None:
        super().__init__()
        self.dense = Linear(c.hidden_size, c.hidden_size, bias=dense_bias)
        self.norm = norm(c) if norm else None
        self.out_proj = Linear(c.hidden_size, 1, bias=True)
        self._pooling, self._act = pooling, act

    def __call__(self, x: Tensor, layout: BatchLayout) -> Tensor:
        pooled = ops.pool_rows(x, layout, pooling=self._pooling)
        read = self._act(self.dense(pooled))
        return ops.widen(self.out_proj(self.norm(read) if self.norm else read))
