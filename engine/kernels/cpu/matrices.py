"""The ops on matrices for tiled weights, one native call each.

Importing this registers them, also where there is no native library: then no weight is tiled.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from engine.kernels.cpu.calls import run, shared_threads
from engine.kernels.cpu.layouts import NUMBERS
from engine.kernels.cpu.tiles import untile
from engine.kernels.registry import Kernel, register
from engine.kernels.weight import TILED, Weight


def _run(
    name: str,
    inputs: Sequence[Weight | Tensor | None],
    shape: Sequence[int],
    settings: Sequence[float] = (),
) -> Tensor:
    """The result of a native operation, float32."""
    result = torch.empty(shape)
    run(shared_threads(), name, inputs, result.flatten(1), settings)
    return result


def _wide(x: Tensor | None) -> Tensor | None:
    return None if x is None else x.float().contiguous()


def embedding(token_ids: Tensor, weight: Weight) -> Tensor:
    return _run("embedding", (token_ids.contiguous(), weight), (len(token_ids), weight.shape[1]))


def linear(x: Tensor, weight: Weight, bias: Tensor | None = None) -> Tensor:
    return _product("linear", x, weight, bias).to(weight.dtype)


def logits(x: Tensor, weight: Weight, bias: Tensor | None = None) -> Tensor:
    return _product("logits", x, weight, bias)


def _product(name: str, x: Tensor, weight: Weight, bias: Tensor | None) -> Tensor:
    rows = x.float().reshape(-1, weight.shape[1]).contiguous()
    result = _run(name, (rows, weight, _wide(bias)), (len(rows), weight.shape[0]))
    return result.view(*x.shape[:-1], weight.shape[0])


def expert_linear(
    x: Tensor, weight: Weight, chosen: Tensor, num_experts: int, bias: Tensor | None = None
) -> Tensor:
    shape = (*chosen.shape, weight.shape[0] // num_experts)
    inputs = (_wide(x), weight, chosen.contiguous(), _wide(bias))
    return _run("expert_linear", inputs, shape, (num_experts,)).to(weight.dtype)


def head_linear(
    x: Tensor, weight: Weight, first: int, last: int, *, transposed: bool = False
) -> Tensor:
    num_tokens, num_heads = x.shape[:2]
    size = weight.shape[1] if transposed else last - first
    name = "head_linear_transposed" if transposed else "head_linear"
    settings = (num_heads, first, last)
    result = _run(name, (_wide(x), weight), (num_tokens, num_heads, size), settings)
    return result.to(weight.dtype)


_KERNELS: tuple[Kernel, ...] = (embedding, linear, logits, expert_linear, head_linear, untile)

for _name in NUMBERS:
    for _kernel in _KERNELS:
        register(_kernel.__name__, weight_format=TILED + _name, device="cpu")(_kernel)
