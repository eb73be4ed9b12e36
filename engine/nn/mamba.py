"""Mamba's mixer, arXiv:2312.00752, as transformers has it (models/mamba, falcon_mamba, jamba)."""

from collections.abc import Callable

from torch import Tensor

from engine.cache.spec import State
from engine.cache.states import SlottedState
from engine.kernels import ops
from engine.kernels.weight import Weight
from engine.nn.columns import split_columns
from engine.nn.layer import FeedForward
from engine.nn.linear import Linear
from engine.nn.module import Matrix, Module, Vector
from engine.nn.short_conv import CausalConv
from engine.nn.step import Step


class TimeStep(Module):
    """(T, rank) to each channel's dt (T, n). Its bias is for the scan to add, in float32."""

    weight: Weight
    bias: Tensor

    def __init__(self, rank: int, size: int) -> None:
        super().__init__(weight=Matrix(size, rank), bias=Vector(size, wide=True))

    def __call__(self, x: Tensor) -> Tensor:
        return ops.linear(x, self.weight)


class Mamba(Module):
    """One projection to x and gate; x through a convolution; dt, B and C of that; the scan; the gate.

    inner_size: channels; dt_rank: columns that their dt is made of. norm: makes a norm of so many
    columns, for each of dt, B and C. A is kept as it is computed with: -exp(A_log).
    """

    A: Tensor
    D: Tensor

    def __init__(
        self,
        hidden_size: int,
        *,
        inner_size: int,
        state_size: int,
        dt_rank: int,
        kernel_size: int = 4,
        conv_bias: bool = True,
        proj_bias: bool = False,
        norm: Callable[[int], FeedForward] | None = None,
    ) -> None:
        super().__init__(
            A=Vector(state_size, wide=True, count=inner_size), D=Vector(inner_size, wide=True)
        )
        self._parts = dt_rank, state_size, state_size
        self.in_proj = Linear(hidden_size, 2 * inner_size, bias=proj_bias)
        self.conv1d = CausalConv(inner_size, kernel_size, bias=conv_bias)
        self.x_proj = Linear(inner_size, sum(self._parts))
        if norm is not None:
            self.dt_layernorm, self.b_layernorm, self.c_layernorm = map(norm, self._parts)
        self._is_normed = norm is not None
        self.dt_proj = TimeStep(dt_rank, inner_size)
        self.out_proj = Linear(inner_size, hidden_size, bias=proj_bias)
        self.cache_spec = State({"conv": self.conv1d.state_shape, "ssm": (inner_size, state_size)})
        self._inner_size = inner_size

    def __call__(self, x: Tensor, step: Step, cache: SlottedState) -> Tensor:
        x, gate = split_columns(self.in_proj(x), (self._inner_size, self._inner_size))
        x = ops.silu(self.conv1d(x, cache["conv"], step.layout))
        dt, b, c = split_columns(self.x_proj(x), self._parts)
        if self._is_normed:
            dt, b, c = self.dt_layernorm(dt), self.b_layernorm(b), self.c_layernorm(c)
        dt, bias = self.dt_proj(dt), self.dt_proj.bias
        y = ops.selective_scan(x, dt, self.A, b, c, self.D, bias, cache["ssm"], step.layout)
        return self.out_proj(ops.silu_mul(gate, y))
