"""Joining steps: what is joined, and what must not be."""

from engine.kernels.cpu.fusion import MAX_TOGETHER, fuse
from engine.kernels.cpu.lowering import NativeStep


def linear(x: str, weight: str, y: str, bias: str | None = None) -> NativeStep:
    return NativeStep("linear", (x, weight, bias), y)


def add(x: str, y: str, result: str) -> NativeStep:
    return NativeStep("add", (x, y), result)


def test_a_sum_is_written_by_the_product_that_goes_into_it():
    """Whichever side of the addition it is on."""
    for one, other in (("%1", "%2"), ("%2", "%1")):
        (step,) = fuse([linear("%0", "w", "%2"), add(one, other, "%3")])

        assert step == NativeStep("linear", ("%0", "w", None, "%1"), "%3")


def test_a_second_sum_is_a_step_of_its_own():
    """One addend is all that a product takes."""
    steps = fuse([linear("%0", "w", "%2"), add("%1", "%2", "%3"), add("%9", "%3", "%4")])

    assert [step.operation for step in steps] == ["linear", "add"]
    assert steps[1] == add("%9", "%3", "%4")


def test_a_product_that_is_wanted_elsewhere_stays():
    """Its value must be there."""
    steps = [linear("%0", "w", "%2"), add("%1", "%2", "%3"), add("%2", "%3", "%4")]

    assert fuse(steps) == steps


def test_a_vector_is_no_addend():
    """A constant has one row, a product many."""
    steps = [linear("%0", "w", "%2"), add("model.bias", "%2", "%3")]

    assert fuse(steps) == steps


def test_products_of_one_value_are_made_together():
    """With their biases, each into its own value."""
    (step,) = fuse([linear("%0", "q", "%1", "b"), linear("%0", "k", "%2"), linear("%0", "v", "%3")])

    inputs = ("%0", "q", "b", "%1", "k", None, "%2", "v", None, "%3")
    assert step == NativeStep("linears", inputs, None, (), ("%1", "%2", "%3"))


def test_products_of_different_values_are_not():
    """Neither are more than fit one operation."""
    apart = [linear("%0", "q", "%1"), linear("%9", "k", "%2")]
    many = [linear("%0", f"w{index}", f"%{index + 1}") for index in range(MAX_TOGETHER + 1)]

    assert fuse(apart) == apart
    assert [step.operation for step in fuse(many)] == ["linears", "linear"]
