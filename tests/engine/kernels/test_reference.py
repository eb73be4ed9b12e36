"""The reference against independent ways to the same values."""

import gguf
import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812  # torch's own name for it

from engine.kernels import ops, reference
from engine.kernels.weight import Weight


def packed(name: str, rows: int, columns: int) -> tuple[Weight, torch.Tensor]:
    """A quantised weight, and its values as gguf-py reads them."""
    kind = gguf.GGMLQuantizationType[name]
    values = np.random.default_rng(3).standard_normal((rows, columns), dtype=np.float32)
    blocks = gguf.quants.quantize(values, kind)
    exact = torch.from_numpy(gguf.quants.dequantize(blocks, kind))
    return Weight(name, (rows, columns), torch.from_numpy(blocks), torch.float32), exact


@pytest.mark.parametrize("elements", [64, 200, 2**20])
def test_a_packed_linear_is_one_on_unpacked_values(elements, monkeypatch):
    """However many rows are unpacked at a time, the product is that of the whole."""
    monkeypatch.setattr(reference, "UNPACK_ELEMENTS", elements)
    weight, exact = packed("Q8_0", 9, 64)
    x, bias = torch.randn(4, 64), torch.randn(9)

    assert torch.allclose(ops.linear(x, weight, bias), F.linear(x, exact, bias), atol=1e-5)


def test_packed_rows_are_looked_up():
    """An embedding unpacks just the rows that are asked for."""
    weight, exact = packed("Q4_0", 9, 64)
    ids = torch.tensor([8, 0, 8])

    assert torch.equal(ops.embedding(ids, weight), exact[ids])


def test_rms_norm_is_torchs():
    """Equal to torch's own, and computed in float32 whatever comes in."""
    x, weight = torch.randn(3, 4, 8), torch.randn(8)

    assert torch.allclose(ops.rms_norm(x, weight, 1e-5), F.rms_norm(x, (8,), weight, 1e-5))
    narrow = x.bfloat16()
    exact = F.rms_norm(narrow.float(), (8,), weight, 1e-5)
    assert torch.equal(ops.rms_norm(narrow, weight, 1e-5), exact.bfloat16())


def test_rope_turns_complex_numbers():
    """The pair (i, i + n) is a number of the complex plane, turned by position * frequency."""
    x, positions = torch.randn(5, 2, 8), torch.tensor([0, 1, 5, 100, 2])
    inv_freq = torch.tensor([1.0, 0.3, 0.1, 0.01])
    turned = ops.rope(x, ops.rope_table(positions, inv_freq, 1.0))
    angles = positions[:, None, None] * inv_freq
    expected = torch.complex(x[..., :4], x[..., 4:]) * torch.polar(torch.ones_like(angles), angles)

    assert torch.allclose(turned, torch.cat([expected.real, expected.imag], -1), atol=1e-5)


def test_partial_rope_leaves_the_rest():
    """A table narrower than the head turns the first values and passes the others."""
    x = torch.randn(3, 2, 8)
    table = ops.rope_table(torch.arange(3), torch.tensor([1.0, 0.5]), 1.0)
    turned = ops.rope(x, table)

    assert torch.equal(turned[..., 4:], x[..., 4:])
    assert torch.equal(turned[..., :4], ops.rope(x[..., :4], table))


def test_the_rope_factor_scales_cosines_and_sines():
    """YaRN's attention factor is part of the table."""
    positions, inv_freq = torch.arange(4), torch.rand(3)

    doubled = ops.rope_table(positions, inv_freq, 2.0)
    assert torch.equal(doubled, 2 * ops.rope_table(positions, inv_freq, 1.0))


def test_queries_grow_in_steps_with_their_position():
    """Not at all within the first period, then by the logarithm of whole periods."""
    x = torch.ones(4, 2, 3)
    grown = ops.scale_by_position(x, torch.tensor([0, 15, 16, 47]), 0.5, 16)

    steps = 1 + 0.5 * torch.tensor([1.0, 1.0, 2.0, 3.0]).log()
    assert torch.allclose(grown, steps[:, None, None].expand_as(x))


def test_heads_split_and_merge():
    """Splitting and merging are each other's inverse; a head's values lie together."""
    x = torch.arange(12.0).view(2, 6)

    assert ops.split_heads(x, 3)[0].tolist() == [[0, 1], [2, 3], [4, 5]]
    assert torch.equal(ops.merge_heads(ops.split_heads(x, 3)), x)


def test_a_matrix_computes_in_its_own_dtype():
    """The residual stream is float32; what a bfloat16 matrix makes of it is bfloat16."""
    x, weight = torch.randn(3, 8), Weight.dense(torch.randn(5, 8).bfloat16())

    assert torch.equal(ops.linear(x, weight), F.linear(x.bfloat16(), weight.data))
    assert ops.embedding(torch.tensor([4, 0]), weight).dtype == torch.float32


def test_close_logits_keep_their_order():
    """Two candidates that bfloat16 would make equal are told apart; the rest stay near."""
    hidden = torch.full((1, 64), 0.5)
    matrix = torch.randn(500, 64).bfloat16()
    matrix[7], matrix[9] = 0.5, 0.5
    matrix[9, 0] = 0.50390625  # the next bfloat16
    exact = F.linear(hidden, matrix.float())
    made = ops.logits(hidden, Weight.dense(matrix))

    assert F.linear(hidden.bfloat16(), matrix)[0, 7] == F.linear(hidden.bfloat16(), matrix)[0, 9]
    assert made[0, 9] > made[0, 7]
    torch.testing.assert_close(made, exact, atol=0.1, rtol=0.01)


def test_logits_take_a_bias():
    """A bias is added to every logit, those computed again included."""
    hidden, matrix, bias = torch.randn(2, 8), torch.randn(100, 8).bfloat16(), torch.randn(100)
    made = ops.logits(hidden, Weight.dense(matrix), bias.bfloat16())

    expected = F.linear(hidden, matrix.float(), bias)
    torch.testing.assert_close(made, expected, atol=0.1, rtol=0.02)


def test_scale_rounds_its_factor_first():
    """As a constant stored in the model's dtype: bfloat16 makes 55.5 of the root of 3072."""
    x = torch.ones(1, dtype=torch.bfloat16) * 3

    assert ops.scale(x, 3072**0.5).item() == (x * 55.5).item()
    assert ops.scale(torch.ones(1), 3072**0.5).item() == pytest.approx(3072**0.5)


def test_gates_are_torchs():
    """The gate through silu, or gelu in its tanh form, times the other half."""
    gate, up = torch.randn(3, 4), torch.randn(3, 4)

    assert torch.equal(ops.silu_mul(gate, up), F.silu(gate) * up)
    assert torch.equal(ops.gelu_tanh_mul(gate, up), F.gelu(gate, approximate="tanh") * up)


def test_activations_keep_the_dtype():
    """Those that stand alone, in the dtype that they are given."""
    x = torch.randn(3, 4).bfloat16()

    assert torch.equal(ops.silu(x), F.silu(x))
    assert torch.equal(ops.relu_squared(x), F.relu(x) ** 2)


def test_softcap_bounds():
    """Small values pass, large ones stay below the cap."""
    capped = ops.softcap(torch.tensor([0.01, 1000.0, -1000.0]), 30.0)

    assert torch.allclose(capped, torch.tensor([0.01, 30.0, -30.0]))


def test_layer_norm_is_torchs():
    """With weight and bias, and with neither."""
    x, weight, bias = torch.randn(3, 8) * 4 + 1, torch.randn(8), torch.randn(8)

    expected = F.layer_norm(x, (8,), weight, bias, 1e-5)
    assert torch.allclose(ops.layer_norm(x, weight, bias, 1e-5), expected, atol=1e-6)
    assert torch.equal(ops.layer_norm(x, None, None, 1e-5), F.layer_norm(x, (8,), eps=1e-5))


def test_heads_may_have_norms_of_their_own():
    """Weights (H, n) for x (T, H, n); in x's dtype."""
    x, weight = torch.randn(3, 2, 8).bfloat16(), torch.randn(2, 8)
    made = ops.layer_norm(x, weight, None, 1e-5)

    for head in range(2):
        expected = F.layer_norm(x[:, head].float(), (8,), weight[head], eps=1e-5)
        assert torch.equal(made[:, head], expected.bfloat16())


def test_longrope_goes_by_the_length_of_each_rows_sequence():
    """Not by the row's own position."""
    positions, lengths = torch.tensor([3, 3, 9]), torch.tensor([4, 5, 12])
    short, long = torch.tensor([1.0, 0.1]), torch.tensor([0.5, 0.01])
    table = ops.longrope_table(positions, lengths, short, long, switch=4, factors=(1.1, 1.3))

    assert torch.equal(table[:1], ops.rope_table(positions[:1], short, 1.1))
    assert torch.equal(table[1:], ops.rope_table(positions[1:], long, 1.3))


def test_activations_are_torchs():
    """GELU exact and in its tanh form; clamped values on both sides."""
    x = torch.randn(3, 4) * 3

    assert torch.equal(ops.gelu(x), F.gelu(x))
    assert torch.equal(ops.gelu_tanh(x), F.gelu(x, approximate="tanh"))
    assert torch.equal(ops.clamp(x, 0.5), x.clamp(-0.5, 0.5))
    assert torch.equal(ops.relu_squared(x), F.relu(x) ** 2)
    assert torch.equal(ops.sigmoid(x), x.sigmoid())
    assert torch.equal(ops.tanh(x), x.tanh())
    assert torch.equal(ops.exp(x), x.exp())


def test_rows_are_mixed_by_channel():
    """By factors of all rows or of each; in float32, in the first one's dtype."""
    x, y, factors = torch.randn(3, 4).bfloat16(), torch.randn(3, 4), torch.rand(3, 4)
    expected = torch.lerp(x.float(), y, factors).bfloat16()

    assert torch.allclose(ops.lerp(x, y, factors), expected)
    assert torch.equal(ops.lerp(x, y, factors[0])[0], ops.lerp(x, y, factors)[0])


def test_a_vector_is_added_to_each_row():
    """In the wider dtype of the two."""
    x, bias = torch.randn(3, 4).bfloat16(), torch.randn(4)

    assert torch.equal(ops.add(x, bias), x.float() + bias)
