"""Mamba-2's mixer, arXiv:2405.21060, as transformers has it (models/mamba2, bamba, falcon_h1)."""

from collections.abc import Sequence

from torch import Tensor

from engine.cache.spec import State
from engine.cache.states import SlottedState
from engine.kernels import ops
from engine.nn.columns import split_columns
from engine.nn.linear import Linear
from engine.nn.module import Module, Table, Vector
from engine.nn.short_conv import CausalConv
from engine.nn.step import Step

NO_LIMITS = (0.0, float("inf"))


class GatedNorm(Module):
    """RMS norm of y * silu(gate), in each of `num_groups` runs of the `size` columns by itself.

    norm_first: the gate multiplies what is normed instead.
    """

    weight: Tensor

    def __init__(
        self, size: int, eps: float, *, num_groups: int = 1, norm_first: bool = False
    ) -> None:
        super().__init__(weight=Vector(size, wide=True))
        self._eps = eps
        self._num_groups = num_groups
        self._norm_first = norm_first

    def __call__(self, y: Tensor, gate: Tensor) -> Tensor:
        if self._norm_first:
            return ops.silu_mul(gate, self._normed(y))
        return self._normed(ops.silu_mul(gate, y))

    def _normed(self, y: Tensor) -> Tensor:
        groups = ops.rms_norm(ops.split_heads(y, self._num_groups), None, self._eps)
        return ops.mul(ops.merge_heads(groups), self.weight)


class Mamba2(Module):
    """One projection to gate, x, B, C and dt; x, B and C through a convolution; the scan; the gate.

    num_groups: how many of B and C the heads share. norm: of what the scan gives, with its gate;
    none leaves the gate alone. dt_limits: what dt is kept within. in_factors: on the five parts of
    the projection, in their order. A is kept as it is computed with: -exp(A_log).
    """

    A: Tensor
    D: Tensor
    dt_bias: Tensor
    in_factors: Tensor | None = None

    def __init__(
        self,
        hidden_size: int,
        *,
        num_heads: int,
        head_dim: int,
        state_size: int,
        num_groups: int = 1,
        kernel_size: int = 4,
        conv_bias: bool = True,
        in_bias: bool = False,
        out_bias: bool = False,
        norm: GatedNorm | None = None,
        dt_limits: tuple[float, float] = NO_LIMITS,
        in_factors: Sequence[float] = (),
    ) -> None:
        if num_heads % num_groups:
            raise ValueError(f"{num_heads} heads, {num_groups} groups: not a multiple")
        vectors = {name: Vector(num_heads, wide=True) for name in ("A", "D", "dt_bias")}
        super().__init__(**vectors)
        size, shared = num_heads * head_dim, num_groups * state_size
        self._conv_parts = size, shared, shared
        self._parts = size, sum(self._conv_parts), num_heads
        if any(factor != 1 for factor in in_factors):
            columns = (size, *self._conv_parts, num_heads)
            self.slots["in_factors"] = Table(_repeated(in_factors, columns))
        self.in_proj = Linear(hidden_size, sum(self._parts), bias=in_bias)
        self.conv1d = CausalConv(sum(self._conv_parts), kernel_size, bias=conv_bias)
        self.norm = norm
        self.out_proj = Linear(size, hidden_size, bias=out_bias)
        self.cache_spec = State(
            {"conv": self.conv1d.state_shape, "ssm": (num_heads, head_dim, state_size)}
        )
        self._num_heads = num_heads
        self._num_groups = num_groups
        self._dt_limits = dt_limits

    def __call__(self, x: Tensor, step: Step, cache: SlottedState) -> Tensor:
        projected = self.in_proj(x)
        if self.in_factors is not None:
            projected = ops.mul(projected, self.in_factors)
        gate, mixed, dt = split_columns(projected, self._parts)
        mixed = ops.silu(self.conv1d(mixed, cache["conv"], step.layout))
        y = self._scan(mixed, dt, step, cache)
        gated = ops.silu_mul(gate, y) if self.norm is None else self.norm(y, gate)
        return self.out_proj(gated)

    def _scan(self, mixed: Tensor, dt: Tensor, step: Step, cache: SlottedState) -> Tensor:
        x, b, c = split_columns(mixed, self._conv_parts)
        scanned = ops.ssd_scan(
            ops.split_heads(x, self._num_heads),
            dt,
            self.A,
            ops.split_heads(b, self._num_groups),
            ops.split_heads(c, self._num_groups),
            self.D,
            self.dt_bias,
            cache["ssm"],
            step.layout,
            dt_limits=self._dt_limits,
        )
        return ops.merge_heads(scanned)


def _repeated(values: Sequence[float], counts: Sequence[int]) -> tuple[float, ...]:
    """Each value as often as its count says."""
    return tuple(value for value, count in zip(values, counts, strict=True) for _ in range(count))
