"""Recurrences as native operations: see `natives`."""

from engine.kernels.cpu.lowering import Native, Settings, Shapes
from engine.kernels.cpu.natives_elementwise import shape_of
from engine.kernels.trace import Call

MAX_TAPS = 32
"""Of a convolution, in scans.cpp."""


def _heads(*names: str) -> Settings:
    """How many heads arguments (T, H, d) have."""
    return lambda call, shapes: [shape_of(call, name, shapes)[1] for name in names]


def _delta(call: Call, shapes: Shapes) -> list[float]:
    heads = _heads("v", "q")(call, shapes)
    return [*heads, call.settings.get("tiled", False), call.settings.get("max_beta", 1.0)]


def _ssd(call: Call, shapes: Shapes) -> list[float]:
    return [shape_of(call, "b", shapes)[1], *call.settings["dt_limits"]]


def _taps(call: Call, shapes: Shapes) -> list[float]:
    taps = shape_of(call, "weight", shapes)[1]
    if taps > MAX_TAPS:
        raise LookupError(f"{call.op} of {taps} taps")
    return []


RECURRENT = {
    "causal_conv": Native(("x", "weight", "bias", "state"), _taps),
    "token_shift": Native(("x", "state")),
    "ssd_scan": Native(("x", "dt", "a", "b", "c", "d", "dt_bias", "state"), _ssd),
    "selective_scan": Native(("x", "dt", "a", "b", "c", "d", "dt_bias", "state")),
    "gated_delta_rule": Native(("q", "k", "v", "decay", "beta", "state"), _delta),
    "rwkv6_scan": Native(("r", "k", "v", "log_decay", "bonus", "state"), _heads("r")),
    "rwkv7_scan": Native(("r", "k", "v", "log_decay", "removal", "rate", "state"), _heads("r")),
    "linear_attention": Native(("qkv", "slopes", "state")),
}
