"""Products of experts' matrices in Triton against the reference, by pairs and by tiles."""

import pytest
import torch

pytest.importorskip("triton", reason="Triton is for Linux alone")

from engine.kernels import ops
from engine.kernels import reference_moe as reference
from engine.kernels.planes import planes_format, planes_rows
from engine.kernels.triton import experts as kernels
from engine.kernels.weight import Weight
from tests.engine.tiled_weights import NAMES, can_be, random_weight

ACTS = {
    "silu_mul": {},
    "gelu_tanh_mul": {},
    "clamped_swiglu": {"alpha": 1.702, "limit": 0.7},
}
BY_PAIRS, BY_TILES = 2, 23
"""Rows of 2 experts each out of 5."""


def numbers(*shape, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator).to(dtype)


def choice(rows, top_k, num_experts, seed=0):
    return numbers(rows, num_experts, seed=seed).topk(top_k).indices


def stack(num_experts, out_features, in_features, seed=1, dtype=torch.float32):
    return Weight.dense(numbers(num_experts * out_features, in_features, seed=seed, dtype=dtype))


def in_planes(name, rows, columns, seed=0):
    torch.manual_seed(seed)
    stored = random_weight(name, rows, columns)
    form = planes_format(name, torch.float32)
    return Weight(form, stored.shape, planes_rows(stored), torch.float32)


def close(actual, expected, rough=torch.float32):
    """rough: the least precise dtype on the way."""
    tolerance = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}[rough]
    assert actual.dtype == expected.dtype
    scale = expected.float().abs().max().item()
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance * scale)


@pytest.mark.parametrize("rows", [BY_PAIRS, BY_TILES])
@pytest.mark.parametrize(
    ("is_shared", "dtype"), [(True, torch.float32), (False, torch.float32), (True, torch.float16)]
)
def test_expert_linear(rows, is_shared, dtype):
    """Neither size fills its tiles. is_shared: a row is the same for all its experts."""
    size = {BY_PAIRS: 6, BY_TILES: 70}[rows]
    chosen, weight = choice(rows, 2, 5), stack(5, size, 80, dtype=dtype)
    x = numbers(*((rows, 80) if is_shared else (rows, 2, 80)), dtype=torch.float32)
    bias = numbers(5, size, seed=2, dtype=dtype)
    for each in (None, bias):
        expected = reference.expert_linear(x, weight, chosen, 5, each)
        close(kernels.expert_linear(x, weight, chosen, 5, each), expected, dtype)


@pytest.mark.parametrize(
    ("act", "is_biased"),
    [("silu_mul", False), ("silu_mul", True), ("gelu_tanh_mul", False), ("clamped_swiglu", True)],
)
@pytest.mark.parametrize("rows", [BY_PAIRS, BY_TILES])
def test_gated_experts_is_the_op_of_two_products(act, rows, is_biased):
    chosen, x = choice(rows, 2, 5), numbers(rows, 64) / 4
    gate, up = stack(5, 6, 64, seed=1), stack(5, 6, 64, seed=2)
    gate_bias, up_bias = (
        (numbers(5, 6, seed=3), numbers(5, 6, seed=4)) if is_biased else (None, None)
    )
    actual = kernels.gated_experts(x, gate, up, chosen, 5, act, gate_bias, up_bias, **ACTS[act])

    products = (
        reference.expert_linear(x, gate, chosen, 5, gate_bias),
        reference.expert_linear(x, up, chosen, 5, up_bias),
    )
    close(actual, ops.OPS[act](*products, **ACTS[act]))


@pytest.mark.parametrize(("rows", "top_k"), [(1, 4), (2, 2), (5, 1), (9, 4), (1, 3)])
@pytest.mark.parametrize("is_biased", [False, True])
def test_combined_experts_is_the_product_and_its_sum(rows, top_k, is_biased):
    chosen, h, down = choice(rows, top_k, 5), numbers(rows, top_k, 48), stack(5, 6, 48)
    weights = numbers(rows, top_k, seed=5)
    bias = numbers(5, 6, seed=6) if is_biased else None
    actual = kernels.combined_experts(h, down, chosen, weights, 5, bias)

    outputs = reference.expert_linear(h, down, chosen, 5, bias)
    close(actual, reference.combine_experts(outputs, weights))


def test_combine_experts():
    outputs, weights = numbers(3, 4, 1100, dtype=torch.float16), numbers(3, 4, seed=1)

    expected = reference.combine_experts(outputs, weights)
    close(kernels.combine_experts(outputs, weights), expected)


PLANES = [name for name in NAMES if planes_format(name, torch.float32)]
QUICK = ("MXFP4",)


@pytest.mark.parametrize(
    "name", [pytest.param(x, marks=() if x in QUICK else pytest.mark.slow) for x in PLANES]
)
@pytest.mark.parametrize("rows", [2, 5])
def test_quantised_experts(name, rows):
    """Gate, up and down, of columns that fill no block."""
    chosen, weights = choice(rows, 2, 5), numbers(rows, 2, seed=5)
    columns = 96 if can_be(name, 96) else {2: 768, 5: 256}[rows]
    gate, up, down = (in_planes(name, 5 * 6, columns, seed) for seed in (0, 1, 2))
    x, h = numbers(rows, columns) / 16, numbers(rows, 2, columns, seed=1) / 16
    gated = kernels.gated_experts(x, gate, up, chosen, 5, "silu_mul")
    combined = kernels.combined_experts(h, down, chosen, weights, 5)

    products = (reference.expert_linear(x, each, chosen, 5) for each in (gate, up))
    close(gated, ops.silu_mul(*products))
    outputs = reference.expert_linear(h, down, chosen, 5)
    close(combined, reference.combine_experts(outputs, weights))


def test_gate_and_up_may_differ_in_format():
    gate, up = in_planes("Q4_K", 5 * 6, 256), in_planes("Q6_K", 5 * 6, 256)
    for rows in (1, 3):
        chosen, x = choice(rows, 2, 5), numbers(rows, 256) / 16
        actual = kernels.gated_experts(x, gate, up, chosen, 5, "silu_mul")

        products = (reference.expert_linear(x, each, chosen, 5) for each in (gate, up))
        close(actual, ops.silu_mul(*products))


def test_formats_without_planes_are_multiplied_by_torch():
    torch.manual_seed(0)
    gate, up = random_weight("Q8_0", 5 * 6, 64), stack(5, 6, 64)
    chosen, x = choice(2, 2, 5), numbers(2, 64) / 8
    settings = {"alpha": 1.7, "limit": 0.5}
    actual = kernels.gated_experts(x, gate, up, chosen, 5, "clamped_swiglu", **settings)

    products = (reference.expert_linear(x, each, chosen, 5) for each in (gate, up))
    close(actual, ops.clamped_swiglu(*products, **settings))


@pytest.mark.parametrize("rows", [BY_PAIRS, BY_TILES])
def test_bfloat16(rows):
    """Rounded as it may be in the interpreter."""
    chosen, weights = choice(rows, 2, 5), numbers(rows, 2, seed=5)
    gate, up = (stack(5, 8, 64, seed=seed, dtype=torch.bfloat16) for seed in (1, 2))
    down = stack(5, 8, 32, seed=3, dtype=torch.bfloat16)
    x, h = numbers(rows, 64) / 8, numbers(rows, 2, 32)
    gated = kernels.gated_experts(x, gate, up, chosen, 5, "silu_mul")
    combined = kernels.combined_experts(h, down, chosen, weights, 5)

    products = (reference.expert_linear(x, each, chosen, 5) for each in (gate, up))
    close(gated, ops.silu_mul(*products), torch.bfloat16)
    outputs = reference.expert_linear(h, down, chosen, 5)
    expected = reference.combine_experts(outputs, weights)
    close(combined, expected, rough=torch.bfloat16)


@pytest.mark.parametrize("rows", [BY_PAIRS, BY_TILES])
def test_a_bad_row_spoils_no_other(rows):
    chosen, weight, x = choice(rows, 2, 5), stack(5, 4, 32), numbers(rows, 32)
    good = kernels.expert_linear(x, weight, chosen, 5)
    x[1] = torch.nan
    actual = kernels.expert_linear(x, weight, chosen, 5)

    others = torch.arange(rows) != 1
    assert torch.equal(actual[others], good[others])
    assert actual[1].isnan().all()


def test_no_rows():
    chosen, weight = torch.empty(0, 2, dtype=torch.int64), stack(5, 16, 32)
    outputs = kernels.expert_linear(numbers(0, 32), weight, chosen, 5)

    assert outputs.shape == (0, 2, 16)
    combined = kernels.combined_experts(numbers(0, 2, 32), weight, chosen, numbers(0, 2), 5)
    assert combined.shape == (0, 16)
