"""What may be joined, and what the order of things forbids."""

import torch

from engine.kernels import ops
from engine.kernels.batch import BatchLayout
from engine.kernels.replay.program import listing_of
from engine.kernels.trace import Tape, Traced
from engine.kernels.weight import DENSE, Weight

ROWS, SIZE = 5, 16


class Forward:
    """Makes what a recording begins with."""

    def __init__(self) -> None:
        self.tape = Tape()

    def value(self, label: str, *shape: int, dtype: torch.dtype = torch.float32) -> Traced:
        """One that a step makes: an input itself is no value."""
        given = self.tape.tensor(label, shape or (ROWS, SIZE), dtype)
        return ops.tanh(given)

    def weight(self, label: str, dtype: torch.dtype = torch.bfloat16) -> Weight:
        data = self.tape.tensor(label, (SIZE, SIZE), dtype)
        return Weight(DENSE, (SIZE, SIZE), data, dtype)

    def vector(self, label: str) -> Traced:
        return self.tape.tensor(label, (SIZE,), torch.float32)

    def ids(self, label: str, *shape: int) -> Traced:
        return self.tape.tensor(label, shape, torch.int64)

    def layout(self) -> BatchLayout:
        return BatchLayout(
            *(self.ids(name, ROWS) for name in ("starts", "lens")),
            self.ids("tables", ROWS, 2),
            *(self.ids(name, ROWS) for name in ("slots", "reads", "writes")),
            block_size=16,
        )

    def ops(self, end: Traced) -> list[str]:
        """Of the steps but those that make the values that the forward begins with."""
        ops.logits(end, self.weight("head"))
        steps = listing_of(self.tape).steps
        assert steps[-1].op == "logits"
        return [step.op for step in steps[:-1] if step.op != "tanh"]


def test_a_sum_that_is_normed_keeps_its_reader():
    """The sum goes on as the residual stream: it is given beside its norm."""
    forward = Forward()
    total = ops.add(forward.value("x"), forward.value("y"))
    normed = ops.rms_norm(total, forward.vector("norm"), 1e-5)

    assert forward.ops(ops.add(total, normed)) == ["add_rms_norm", "add"]


def test_a_bias_that_is_added_is_no_residual():
    """One row for all is another sum than that of two values."""
    forward = Forward()
    total = ops.add(forward.value("x"), forward.vector("bias"))

    assert forward.ops(ops.rms_norm(total, forward.vector("norm"), 1e-5)) == ["add", "rms_norm"]


def test_a_norm_without_a_weight_stays():
    forward = Forward()
    total = ops.add(forward.value("x"), forward.value("y"))

    assert forward.ops(ops.rms_norm(total, None, 1e-5)) == ["add", "rms_norm"]


def test_a_product_is_added_to_what_was_there():
    """On either side of the sum."""
    for turn in (False, True):
        forward = Forward()
        x, stream = forward.value("x"), forward.value("stream")
        product = ops.linear(x, forward.weight("w"))
        total = ops.add(product, stream) if turn else ops.add(stream, product)

        assert forward.ops(ops.silu(total)) == ["linear_add", "silu"]


def test_a_product_that_somebody_else_wants_is_made_by_itself():
    forward = Forward()
    product = ops.linear(forward.value("x"), forward.weight("w"))
    total = ops.add(forward.value("stream"), product)

    assert forward.ops(ops.mul(total, product)) == ["linear", "add", "mul"]


def test_a_product_cannot_be_added_to_what_is_not_yet_there():
    """The fused step would stand where the product did."""
    forward = Forward()
    product = ops.linear(forward.value("x"), forward.weight("w"))
    later = forward.value("later")

    assert forward.ops(ops.silu(ops.add(later, product))) == ["linear", "add", "silu"]


def test_a_sum_has_the_dtype_of_its_addend():
    """A narrow addend would make the sum narrow."""
    forward = Forward()
    narrow = forward.value("narrow", dtype=torch.bfloat16)
    product = ops.linear(forward.value("x"), forward.weight("w", torch.float32))
    forward_ops = forward.ops(ops.silu(ops.add(product, narrow)))

    assert "linear_add" not in forward_ops


def test_products_of_one_x_are_made_together_by_dtype():
    """A router's float32 matrix stays by itself, and so does a gate's pair."""
    forward = Forward()
    x = forward.value("x")
    router = ops.linear(x, forward.weight("router", torch.float32))
    parts = [ops.linear(x, forward.weight(f"w{index}")) for index in range(7)]
    gated = ops.silu_mul(ops.linear(x, forward.weight("gate")), ops.linear(x, forward.weight("up")))
    total = ops.mul(gated, router)
    for part in parts:
        total = ops.mul(total, part)

    assert forward.ops(total) == ["linear", "linears", "linears", "gated", *["mul"] * 8]


def test_gates_of_two_values_are_no_pair():
    forward = Forward()
    gate = ops.linear(forward.value("x"), forward.weight("gate"))
    up = ops.linear(forward.value("y"), forward.weight("up"))

    assert forward.ops(ops.silu_mul(gate, up)) == ["linear", "linear", "silu_mul"]


def test_a_gate_that_somebody_else_wants_is_made_by_itself():
    forward = Forward()
    x = forward.value("x")
    gate, up = (ops.linear(x, forward.weight(label)) for label in ("gate", "up"))
    gated = ops.mul(ops.silu_mul(gate, up), gate)

    assert forward.ops(gated) == ["linears", "silu_mul", "mul"]


def heads(forward: Forward, label: str) -> Traced:
    return forward.value(label, ROWS, 2, 8)


def turned(*, order: str = "qkv", reads_between: bool = False) -> list[str]:
    """Rope and cache write. order: in which what they are given is made; q is turned before v is."""
    forward = Forward()
    table = forward.value("table", ROWS, 2, 4)
    keys, values = (forward.tape.tensor(f"cache.0.{n}", (4, 16, 2, 8), torch.float32) for n in "kv")
    layout = forward.layout()
    made = {label: heads(forward, label) for label in order if label != "v"}
    if order.endswith("v"):
        made["v"] = heads(forward, "v")
    q = ops.rope(made["q"], table)
    k = ops.rope(made["k"], table)
    v = made["v"] if "v" in made else heads(forward, "v")
    if reads_between:
        q = ops.paged_attention(q, keys, values, layout, scale=1.0)
    ops.cache_write(k, v, keys, values, layout)
    attended = ops.paged_attention(q, keys, values, layout, scale=1.0)
    return forward.ops(ops.merge_heads(attended))


def test_q_and_k_are_turned_as_k_is_written():
    assert turned() == ["rope_cache_write", "paged_attention", "merge_heads"]


def test_what_is_turned_before_all_is_there_stays():
    """Here v comes later than the place that the fused step would have."""
    assert turned(order="qk")[:3] == ["rope", "rope", "cache_write"]


def test_a_write_does_not_come_before_what_was_to_read_the_old():
    assert turned(reads_between=True)[:4] == ["rope", "rope", "paged_attention", "cache_write"]
