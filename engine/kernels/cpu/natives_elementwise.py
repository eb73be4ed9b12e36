"""Elementwise ops, and those of whole rows and columns, as native operations: see `natives`."""

from math import prod

import torch

from engine.kernels.cpu.lowering import Native, Settings, Shapes
from engine.kernels.trace import Call


def shape_of(call: Call, name: str, shapes: Shapes) -> tuple[int, ...]:
    """Of a tensor argument."""
    return shapes[call.tensors[name][0]]


def numbers(*names: str) -> Settings:
    """Arguments that are numbers as they are."""
    return lambda call, _: [float(call.settings[name]) for name in names]


def last_axes(*names: str) -> Settings:
    """How long the last axis of each argument is."""
    return lambda call, shapes: [shape_of(call, name, shapes)[-1] for name in names]


def _factor(call: Call, _: Shapes) -> list[float]:
    """`scale`'s, rounded as a stored constant would be."""
    return [torch.tensor(call.settings["factor"], dtype=call.dtype).item()]


def _beside(name: str, *, may_be_a_number: bool = False) -> Settings:
    """No numbers. Raises LookupError unless the argument is of x's shape or one of its rows."""

    def settings(call: Call, shapes: Shapes) -> list[float]:
        given, x = shape_of(call, name, shapes), shape_of(call, "x", shapes)
        is_number = may_be_a_number and given == (1,)
        if given not in (x, (prod(x[1:]),)) and not is_number:
            raise LookupError(f"{call.op} of {x} by {given}")
        return []

    return settings


def _gate(call: Call, shapes: Shapes) -> list[float]:
    gate, x = shape_of(call, "gate", shapes), shape_of(call, "x", shapes)
    if gate[1:] not in (x[1:], (1,)):
        raise LookupError(f"{call.op} of {x} by {gate}")
    return []


def _columns(call: Call, shapes: Shapes) -> list[float]:
    return [shape_of(call, "x", shapes)[-1], call.settings["first"], call.settings["last"]]


ELEMENTWISE = {
    "add": Native(("x", "y"), _beside("y")),
    "scale": Native(("x",), _factor),
    "mul": Native(("x", "factors"), _beside("factors", may_be_a_number=True)),
    "silu_mul": Native(("gate", "up")),
    "gelu_tanh_mul": Native(("gate", "up")),
    "clamped_swiglu": Native(("gate", "up"), numbers("alpha", "limit")),
    "sigmoid_mul": Native(("gate", "x"), _gate),
    "silu": Native(("x",)),
    "gelu": Native(("x",)),
    "gelu_tanh": Native(("x",)),
    "relu_squared": Native(("x",)),
    "sigmoid": Native(("x",)),
    "tanh": Native(("x",)),
    "exp": Native(("x",)),
    "lerp": Native(("x", "y", "factors"), _beside("factors")),
    "clamp": Native(("x",), numbers("limit")),
    "softcap": Native(("x",), numbers("cap")),
    "sparsify": Native(("x",), numbers("deviations")),
    "log_decay": Native(("x", "factor", "bias")),
    "scale_by": Native(("x", "factors", "index")),
    "widen": Native(("x",)),
    "select_columns": Native(("x",), _columns),
    "concat": Native(("x", "y"), last_axes("x", "y")),
    "select_rows": Native(("x", "rows")),
    "ids_below": Native(("token_ids",), numbers("limit")),
}
