"""Frequencies of rotary embeddings, plain and stretched. Numbers only, no tensors.

Checked against transformers 5.23, modeling_rope_utils.py.
"""

import math
from collections.abc import Callable, Mapping
from typing import Literal

from msgspec import Struct

RopeType = Literal["default", "linear", "dynamic", "llama3", "yarn"]


class RopeParameters(Struct, frozen=True, forbid_unknown_fields=True):
    """One rope, in the words of a config's `rope_parameters`. Words it does not know are refused."""

    rope_theta: float
    rope_type: RopeType = "default"
    factor: float | None = None
    original_max_position_embeddings: int | None = None
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    attention_factor: float | None = None
    mscale: float | None = None
    mscale_all_dim: float | None = None
    truncate: bool = True

    def __post_init__(self) -> None:
        if not (math.isfinite(self.rope_theta) and self.rope_theta > 1):
            raise ValueError(f"rope_theta is {self.rope_theta}, not above 1")
        if self.factor is not None and not (math.isfinite(self.factor) and self.factor > 0):
            raise ValueError(f"rope factor is {self.factor}, not above 0")
        if self.rope_type in {"linear", "dynamic", "llama3"} and self.factor is None:
            raise ValueError(f"rope_type {self.rope_type} needs a factor")
        if self.rope_type == "llama3" and self.low_freq_factor >= self.high_freq_factor:
            raise ValueError("rope_type llama3 needs low_freq_factor below high_freq_factor")
        if (self.original_max_position_embeddings or 1) < 1:
            raise ValueError("original_max_position_embeddings is not above 0")


class Frequencies(Struct, frozen=True):
    """Radians per position of each pair, and the factor on cosines and sines."""

    inv_freq: tuple[float, ...]
    attention_factor: float = 1.0


def frequencies(
    rope: RopeParameters, rotary_dim: int, max_positions: int, length: int | None = None
) -> Frequencies:
    """Of the rotary_dim / 2 pairs of a head.

    max_positions: the model's max_position_embeddings. length: of the whole sequence, which only
    "dynamic" asks for, and only where it is beyond max_positions.
    """
    original = rope.original_max_position_embeddings or max_positions
    if rope.rope_type == "dynamic":
        return _dynamic(rope, rotary_dim, max_positions, length or max_positions)
    return _STRETCHED[rope.rope_type](rope, rotary_dim, original, max_positions)


def _plain(theta: float, rotary_dim: int) -> tuple[float, ...]:
    return tuple(theta ** (-i / rotary_dim) for i in range(0, rotary_dim, 2))


def _default(rope: RopeParameters, rotary_dim: int, *_: int) -> Frequencies:
    return Frequencies(_plain(rope.rope_theta, rotary_dim))


def _linear(rope: RopeParameters, rotary_dim: int, *_: int) -> Frequencies:
    factor = rope.factor or 1.0
    return Frequencies(tuple(inv / factor for inv in _plain(rope.rope_theta, rotary_dim)))


def _dynamic(rope: RopeParameters, rotary_dim: int, max_positions: int, length: int) -> Frequencies:
    """NTK-aware scaling: the base grows with a sequence that outgrows the model."""
    factor, theta = rope.factor or 1.0, rope.rope_theta
    if length > max_positions:
        growth = factor * length / max_positions - (factor - 1)
        theta *= growth ** (rotary_dim / (rotary_dim - 2))
    return Frequencies(_plain(theta, rotary_dim))


def _llama3(rope: RopeParameters, rotary_dim: int, original: int, _: int) -> Frequencies:
    """Long waves are stretched, short ones kept, those between blended."""
    factor = rope.factor or 1.0
    low, high = rope.low_freq_factor, rope.high_freq_factor

    def stretch(inv: float) -> float:
        wavelen = 2 * math.pi / inv
        if wavelen < original / high:
            return inv
        if wavelen > original / low:
            return inv / factor
        smooth = (original / wavelen - low) / (high - low)
        return (1 - smooth) * inv / factor + smooth * inv

    return Frequencies(tuple(stretch(inv) for inv in _plain(rope.rope_theta, rotary_dim)))


def _yarn(rope: RopeParameters, rotary_dim: int, original: int, max_positions: int) -> Frequencies:
    """YaRN, arXiv:2309.00071."""
    factor = rope.factor or max_positions / original

    def pair_that_turns(times: float) -> float:
        turns = math.log(original / (times * 2 * math.pi))
        return rotary_dim * turns / (2 * math.log(rope.rope_theta))

    low, high = pair_that_turns(rope.beta_fast), pair_that_turns(rope.beta_slow)
    if rope.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, rotary_dim - 1)
    width = (high - low) or 0.001  # transformers' own way out of a division by zero

    def stretch(index: int, inv: float) -> float:
        ramp = min(max((index - low) / width, 0), 1)
        return inv / factor * ramp + inv * (1 - ramp)

    plain = _plain(rope.rope_theta, rotary_dim)
    stretched = tuple(stretch(index, inv) for index, inv in enumerate(plain))
    return Frequencies(stretched, _yarn_attention_factor(rope, factor))


def _yarn_attention_factor(rope: RopeParameters, factor: float) -> float:
    if rope.attention_factor is not None:
        return rope.attention_factor
    if rope.mscale and rope.mscale_all_dim:
        return _mscale(factor, rope.mscale) / _mscale(factor, rope.mscale_all_dim)
    return _mscale(factor, 1.0)


def _mscale(factor: float, scale: float) -> float:
    return 1.0 if factor <= 1 else 0.1 * scale * math.log(factor) + 1.0


_STRETCHED: Mapping[str, Callable[[RopeParameters, int, int, int], Frequencies]] = {
    "default": _default,
    "linear": _linear,
    "llama3": _llama3,
    "yarn": _yarn,
}
