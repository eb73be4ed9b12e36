"""Mixtures of experts and residual streams as native operations: see `natives`."""

from engine.kernels.cpu.lowering import Native, Shapes
from engine.kernels.cpu.natives_elementwise import numbers, shape_of
from engine.kernels.routing import Routing
from engine.kernels.trace import Call

_SCORES = ("softmax", "sigmoid", "chosen_softmax", "sparsemixer")


def _routing(call: Call, _: Shapes) -> list[float]:
    routing: Routing = call.settings["routing"]
    counted = 1 if routing.group_score == "best" else 2
    return [
        _SCORES.index(routing.score),
        routing.renormalise,
        routing.scaling,
        routing.num_groups,
        routing.top_groups,
        counted,
        routing.jitter,
    ]


def _count(name: str, call: Call, shapes: Shapes) -> list[float]:
    """The axis behind the rows."""
    return [shape_of(call, name, shapes)[1]]


ROUTING = {
    "choose_experts": Native(("logits", "bias"), _routing),
    "weigh_experts": Native(("logits", "chosen"), _routing),
    "combine_experts": Native(("outputs", "weights")),
    "match_rms": Native(("x", "target")),
    "mix_streams": Native(
        ("streams", "coefficients"), lambda call, shapes: _count("streams", call, shapes)
    ),
    "correct_streams": Native(("streams", "x", "coefficients")),
    "add_to_later": Native(("streams", "x")),
    "select_stream": Native(("streams",), numbers("index")),
    "rwkv7_bonus": Native(
        ("r", "k", "v", "factors"), lambda call, shapes: _count("r", call, shapes)
    ),
}
