"""Steps joined where one fused op does the work of several. Pure: it knows steps, shapes and dtypes.

A fused step stands where the first of those that it replaces stood. That changes nothing as long as all
that it is given was there by then, which is what `Flow.join` sees to.
"""

from bisect import insort
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from engine.kernels.replay.steps import Argument, Ref, Step

MAX_TOGETHER = 5
"""So many products of one x are made by one step, as on a CPU: no family has more of them."""

_ACTS = ("silu_mul", "gelu_tanh_mul")
_ACTS_OF_EXPERTS = (*_ACTS, "clamped_swiglu")


@dataclass(frozen=True, slots=True)
class Extent:
    """Of a value, as it was recorded."""

    shape: tuple[int, ...]
    dtype: torch.dtype | None


@dataclass(frozen=True, slots=True)
class Match:
    """Steps by their places, and the one that can stand for them."""

    members: Sequence[int]
    step: Step


Pattern = Callable[["Flow", int], Match | None]
"""What is found at a place: the last of the steps that belong together, or the first."""


class Flow:
    """Steps in order, who makes what of them and who reads it. result: what is wanted in the end.

    Steps keep their places: those that were joined to an earlier one leave None in theirs.
    """

    def __init__(self, steps: Sequence[Step], extents: Mapping[str, Extent], result: str) -> None:
        self.places: list[Step | None] = list(steps)
        self.extents, self._result = extents, result
        self._made_at: dict[str, int] = {}
        self._readers: dict[str, list[int]] = {}
        for at, step in enumerate(steps):
            self._enter(at, step)

    @property
    def steps(self) -> list[Step]:
        """Those that are left."""
        return [step for step in self.places if step is not None]

    def __getitem__(self, at: int) -> Step:
        step = self.places[at]
        assert step is not None, "who makes or reads a value is there"
        return step

    def maker(self, label: str | None, *ops: str) -> int | None:
        """Where a value is made, if it is by one of these ops."""
        at = None if label is None else self._made_at.get(label)
        return at if at is not None and self[at].op in ops else None

    def readers(self, label: str, op: str) -> list[int]:
        """Steps of an op that read a value, in order."""
        return [at for at in self._readers.get(label, ()) if self[at].op == op]

    def has_one_reader(self, label: str | None) -> bool:
        """Whether one step alone wants a value, and once."""
        return label != self._result and len(self._readers.get(label or "", ())) == 1

    def join(self, match: Match) -> None:
        """Puts the match's step in the place of its members, unless the order of things forbids it."""
        place, members = min(match.members), set(match.members)
        is_ready = all(self._made_at.get(label, -1) < place for label in match.step.reads)
        if not is_ready or self._hides_anything(match, members) or self._overtakes(match, members):
            return
        for at in members:
            for label in self[at].reads:
                self._readers[label].remove(at)
            self.places[at] = None
        self.places[place] = match.step
        self._enter(place, match.step)

    def _enter(self, at: int, step: Step) -> None:
        self._made_at.update(dict.fromkeys(step.outputs, at))
        for label in step.reads:
            insort(self._readers.setdefault(label, []), at)

    def _hides_anything(self, match: Match, members: set[int]) -> bool:
        """Whether anybody else wants what the fused step does not give."""
        hidden = {label for at in members for label in self[at].outputs} - {*match.step.outputs}
        return self._result in hidden or any(
            at not in members for label in hidden for at in self._readers.get(label, ())
        )

    def _overtakes(self, match: Match, members: set[int]) -> bool:
        """Whether a write comes before somebody's read or write of the same cache."""
        first, last = min(members), max(members)
        return any(
            at not in members and first < at < last
            for label in match.step.reads
            if label.startswith("cache.")
            for at in self._readers[label]
        )


def fuse(steps: Sequence[Step], extents: Mapping[str, Extent], result: str) -> list[Step]:
    """Fewer steps with the same result. Earlier patterns have precedence.

    An addition before a norm goes with the norm, not with the product before it: the products are
    bound by their weights, and large ones are made by libraries that add nothing.
    """
    flow = Flow(steps, extents, result)
    for pattern in _PATTERNS:
        for at in range(len(steps)):
            match = pattern(flow, at) if flow.places[at] else None
            if match:
                flow.join(match)
    return flow.steps


def _route(flow: Flow, at: int) -> Match | None:
    choose = flow[at]
    if choose.op != "choose_experts":
        return None
    (chosen,) = choose.outputs
    for weigh_at in flow.readers(chosen, "weigh_experts"):
        weigh = flow[weigh_at]
        if all(weigh.arguments[name] == choose.arguments[name] for name in ("logits", "routing")):
            arguments = {name: choose.arguments.get(name) for name in ("logits", "routing", "bias")}
            return Match((at, weigh_at), Step("route", arguments, (chosen, *weigh.outputs)))
    return None


def _gated(flow: Flow, at: int) -> Match | None:
    if flow[at].op not in _ACTS:
        return None
    return _products_gated(flow, at, "linear", "gated", ())


def _gated_experts(flow: Flow, at: int) -> Match | None:
    if flow[at].op not in _ACTS_OF_EXPERTS:
        return None
    return _products_gated(flow, at, "expert_linear", "gated_experts", ("chosen", "num_experts"))


def _products_gated(
    flow: Flow, at: int, op: str, fused: str, shared: tuple[str, ...]
) -> Match | None:
    """Two products of one x that the step at this place joins, with a bias both or neither."""
    act = flow[at]
    labels = act.label("gate"), act.label("up")
    places = [flow.maker(label, op) for label in labels]
    if None in places or len({flow.extents[str(x)] for x in labels}) != 1:
        return None
    gate, up = (flow[place] for place in places if place is not None)
    if any(gate.arguments[name] != up.arguments[name] for name in ("x", *shared)):
        return None
    if (gate.arguments.get("bias") is None) != (up.arguments.get("bias") is None):
        return None
    arguments: dict[str, Argument] = {
        "x": gate.arguments["x"],
        "gate": gate.arguments["weight"],
        "up": up.arguments["weight"],
        **{name: gate.arguments[name] for name in shared},
        "act": act.op,
        "gate_bias": gate.arguments.get("bias"),
        "up_bias": up.arguments.get("bias"),
        **{name: act.arguments[name] for name in ("alpha", "limit") if name in act.arguments},
    }
    members = (*(place for place in places if place is not None), at)
    return Match(members, Step(fused, arguments, act.outputs))


def _combined_experts(flow: Flow, at: int) -> Match | None:
    combine = flow[at]
    if combine.op != "combine_experts":
        return None
    down_at = flow.maker(combine.label("outputs"), "expert_linear")
    if down_at is None or len(flow.extents[flow[down_at].label("x") or ""].shape) != 3:
        return None
    down = flow[down_at].arguments
    arguments: dict[str, Argument] = {
        "h": down["x"],
        "down": down["weight"],
        "chosen": down["chosen"],
        "weights": combine.arguments["weights"],
        "num_experts": down["num_experts"],
        "bias": down.get("bias"),
    }
    return Match((down_at, at), Step("combined_experts", arguments, combine.outputs))


def _rope_cache_write(flow: Flow, at: int) -> Match | None:
    write = flow[at]
    k_at = flow.maker(write.label("k"), "rope") if write.op == "cache_write" else None
    if k_at is None:
        return None
    k = flow[k_at]
    q_at = next((p for p in range(k_at - 1, -1, -1) if _turns_alike(flow, p, k)), None)
    if q_at is None:
        return None
    q = flow[q_at]
    arguments: dict[str, Argument] = {
        "q": q.arguments["x"],
        "k": k.arguments["x"],
        **{name: write.arguments[name] for name in ("v", "keys", "values", "layout")},
        "table": k.arguments["table"],
    }
    return Match((q_at, k_at, at), Step("rope_cache_write", arguments, q.outputs))


def _turns_alike(flow: Flow, at: int, k: Step) -> bool:
    step = flow.places[at]
    if step is None or step.op != "rope" or step.arguments["table"] != k.arguments["table"]:
        return False
    sizes = {flow.extents[label].shape[-1] for label in (*step.outputs, *k.outputs)}
    return len(sizes) == 1


def _add_rms_norm(flow: Flow, at: int) -> Match | None:
    norm = flow[at]
    if norm.op != "rms_norm" or norm.label("weight") is None:
        return None
    add_at = flow.maker(norm.label("x"), "add")
    if add_at is None:
        return None
    add = flow[add_at]
    if not _are_alike(flow, add):
        return None
    arguments = {**add.arguments, "weight": norm.arguments["weight"], "eps": norm.arguments["eps"]}
    return Match((add_at, at), Step("add_rms_norm", arguments, (*add.outputs, *norm.outputs)))


def _are_alike(flow: Flow, add: Step) -> bool:
    """Whether both that are added are values (T, n)."""
    shapes = [flow.extents[x].shape for x in add.reads if x in flow.extents]
    return len(shapes) == 2 and shapes[0] == shapes[1] and len(shapes[0]) == 2


def _linear_add(flow: Flow, at: int) -> Match | None:
    add = flow[at]
    if add.op != "add" or not _are_alike(flow, add):
        return None
    for product, addend in (("y", "x"), ("x", "y")):
        label, other = add.label(product) or "", add.label(addend) or ""
        linear_at = flow.maker(label, "linear")
        if linear_at is None or not flow.has_one_reader(label) or not _is_wider(flow, other, label):
            continue
        linear = flow[linear_at].arguments
        arguments = {name: linear.get(name) for name in ("x", "weight", "bias")}
        step = Step("linear_add", {**arguments, "addend": Ref(other)}, add.outputs)
        return Match((linear_at, at), step)
    return None


def _is_wider(flow: Flow, label: str, other: str) -> bool:
    """Whether a value's dtype is at least as wide as another's."""
    one, two = flow.extents[label].dtype, flow.extents[other].dtype
    return one is not None and two is not None and one.itemsize >= two.itemsize


def _linears(flow: Flow, at: int) -> Match | None:
    first = flow[at]
    if first.op != "linear":
        return None
    alike = [place for place in flow.readers(first.label("x") or "", "linear") if place >= at]
    members = [place for place in alike if _dtype(flow, place) == _dtype(flow, at)][:MAX_TOGETHER]
    if len(members) < 2:
        return None
    products = [flow[place] for place in members]
    arguments: dict[str, Argument] = {
        "x": first.arguments["x"],
        "weights": tuple(step.arguments["weight"] for step in products),
        "biases": tuple(step.arguments.get("bias") for step in products),
    }
    outputs = tuple(label for step in products for label in step.outputs)
    return Match(members, Step("linears", arguments, outputs))


def _dtype(flow: Flow, at: int) -> torch.dtype | None:
    (label,) = flow[at].outputs
    return flow.extents[label].dtype


_PATTERNS: tuple[Pattern, ...] = (
    _route,
    _gated,
    _gated_experts,
    _combined_experts,
    _rope_cache_write,
    _add_rms_norm,
    _linear_add,
    _linears,
)
