"""What a token of a row of logits weighs, and what is asked of the row."""

import triton
from triton import language as tl

SETTINGS = 6
"""Numbers of a row's parameters, float64: uniform, temperature (0 takes the best), 1 / temperature,
top_p, min_p, top_k (0 for all)."""

_SETTINGS = tl.constexpr(SETTINGS)

STEPS = tl.constexpr(16)
"""Of the exponent, one each; the last has all that is lighter."""

DONE, WHOLE = tl.constexpr(-2), tl.constexpr(-1)
"""Instead of how many tokens of a row are collected: it has its token; all of it is searched."""


@triton.jit
def asked(parameters, row, vocab):
    """A row's parameters: uniform, temperature, 1 / temperature, top_p, min_p, top_k or `vocab`."""
    own = parameters + row * _SETTINGS
    top_k = tl.load(own + 5).to(tl.int32)
    return (
        tl.load(own),
        tl.load(own + 1).to(tl.float32),
        tl.load(own + 2).to(tl.float32),
        tl.load(own + 3).to(tl.float32),
        tl.load(own + 4).to(tl.float32),
        tl.where((top_k > 0) & (top_k < vocab), top_k, vocab),
    )


@triton.jit
def step_of(x, inverse):
    """In which step of the exponent x lies; -inf in the last there is.

    A product alone, so that it is the same wherever it is computed.
    """
    scaled = tl.where(x > float("-inf"), x * inverse, -1e30)
    return tl.floor(tl.minimum(tl.maximum(scaled, -1e30), 1e30))


@triton.jit
def weight_of(x, best, temperature):
    return tl.exp((x - best) / temperature)
