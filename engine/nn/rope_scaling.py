"""Frequencies of rotary embeddings, plain and stretched. Numbers only, no tensors.

Checked against transformers 5.23, modeling_rope_utils.py.
"""

import math
from collections.abc import Callable, Mapping
from typing import Literal

from msgspec import Struct

RopeType = Literal["default", "linear", "dynamic", "llama3", "yarn", "longrope", "proportional"]


class RopeParameters(Struct, frozen=True, forbid_unknown_fields=True):
    """One rope, in the words of a config's `rope_parameters`. Unknown words are refused."""

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
    short_factor: tuple[float, ...] = ()
    long_factor: tuple[float, ...] = ()
    short_mscale: float | None = None
    long_mscale: float | None = None
    partial_rotary_factor: float = 1.0
    alpha: float | None = None
    llama_4_scaling_beta: float = 0.0

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
        if not 0 < self.partial_rotary_factor <= 1:
            raise ValueError(
                f"partial_rotary_factor is {self.partial_rotary_factor}, not in (0, 1]"
            )


def rotary_dim_of(rope: RopeParameters, head_dim: int) -> int:
    """How many values of a head are turned; "proportional" ropes turn some by nothing."""
    part = 1.0 if rope.rope_type == "proportional" else rope.partial_rotary_factor
    rotary_dim = int(head_dim * part + 1e-6)  # GGUF's came of a division
    if rotary_dim % 2 or not rotary_dim:
        raise ValueError(f"rope turns pairs: {rotary_dim} values of a head are odd or none")
    return rotary_dim


class Frequencies(Struct, frozen=True):
    """Radians per position of each pair, and the factor on cosines and sines."""

    inv_freq: tuple[float, ...]
    attention_factor: float = 1.0


def frequencies(
    rope: RopeParameters, rotary_dim: int, max_positions: int, length: int | None = None
) -> Frequencies:
    """Of the rotary_dim / 2 pairs of a head.

    max_positions: the model's max_position_embeddings. length: of the whole sequence, which
    "dynamic" asks for where it is beyond max_positions, and "longrope" where it is beyond what the
    model was first trained for.
    """
    original = rope.original_max_position_embeddings or max_positions
    if rope.rope_type == "dynamic":
        return _dynamic(rope, rotary_dim, max_positions, length or max_positions)
    if rope.rope_type == "longrope":
        is_long = length is not None and length > original
        return _longrope(rope, rotary_dim, original, max_positions, is_long=is_long)
    return _STRETCHED[rope.rope_type](rope, rotary_dim, original, max_positions)


def _plain(theta: float, rotary_dim: int) -> tuple[float, ...]:
    return tuple(theta ** (-i / rotary_dim) for i in range(0, rotary_dim, 2))


def _default(rope: RopeParameters, rotary_dim: int, *_: int) -> Frequencies:
    return Frequencies(_plain(rope.rope_theta, rotary_dim))


def _linear(rope: RopeParameters, rotary_dim: int, *_: int) -> Frequencies:
    factor = rope.factor or 1.0
    return Frequencies(tuple(inv / factor for inv in _plain(rope.rope_theta, rotary_dim)))


def _dynamic(rope: RopeParameters, rotary_dim: int, max_positions: int, length: int) -> Frequencies:
    """NTK-aware scaling: the base grows with a sequence that outgrows the model.

    With an alpha, as Hunyuan has, it is grown once and for all.
    """
    factor, theta = rope.factor or 1.0, rope.rope_theta
    if rope.alpha:
        theta *= rope.alpha ** (rotary_dim / (rotary_dim - 2))
    elif length > max_positions:
        growth = factor * length / max_positions - (factor - 1)
        theta *= growth ** (rotary_dim / (rotary_dim - 2))
    return Frequencies(_plain(theta, rotary_dim))


def _longrope(
    rope: RopeParameters, rotary_dim: int, original: int, max_positions: int, *, is_long: bool
) -> Frequencies:
    """LongRoPE, arXiv:2402.13753: a divisor for each frequency."""
    divisors = rope.long_factor if is_long else rope.short_factor
    if len(divisors) != rotary_dim // 2:
        raise ValueError(f"{len(divisors)} longrope factors for {rotary_dim // 2} pairs")
    plain = _plain(rope.rope_theta, rotary_dim)
    inv_freq = tuple(inv / divisor for inv, divisor in zip(plain, divisors, strict=True))
    mscale = rope.long_mscale if is_long else rope.short_mscale
    given = mscale if mscale is not None else rope.attention_factor
    factor = rope.factor or max_positions / original
    if given is None:
        given = 1.0 if factor <= 1 else math.sqrt(1 + math.log(factor) / math.log(max(original, 2)))
    return Frequencies(inv_freq, given)


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


def yarn_score_factor(rope: RopeParameters) -> float:
    """What attention scores are multiplied by where a config says `mscale_all_dim`."""
    if rope.rope_type != "yarn" or not rope.mscale_all_dim:
        return 1.0
    return _mscale(rope.factor or 1.0, rope.mscale_all_dim) ** 2


def _mscale(factor: float, scale: float) -> float:
    return 1.0 if factor <= 1 else 0.1 * scale * math.log(factor) + 1.0


def _proportional(rope: RopeParameters, rotary_dim: int, *_: int) -> Frequencies:
    """Of a whole head's pairs the first turn, as they would in a plain rope; the others stay."""
    plain = _plain(rope.rope_theta, rotary_dim)
    num_turned = int(rope.partial_rotary_factor * rotary_dim // 2)
    turned = tuple(inv / (rope.factor or 1.0) for inv in plain[:num_turned])
    return Frequencies(turned + (0.0,) * (len(plain) - num_turned))


_STRETCHED: Mapping[str, Callable[[RopeParameters, int, int, int], Frequencies]] = {
    "default": _default,
    "linear": _linear,
    "llama3": _llama3,
    "yarn": _yarn,
    "proportional": _proportional,
}
