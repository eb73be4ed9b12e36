import math

import pytest
import torch
from gguf import GGMLQuantizationType, dequantize, quantize

from engine.kernels import ops, reference_latent
from engine.kernels.weight import Weight
from tests.engine.batches import layout_of

HEADS, ROWS, IN = 4, 7, 32


def matrices(weight: torch.Tensor, first: int, last: int) -> torch.Tensor:
    return weight.view(HEADS, ROWS, IN)[:, first:last]


@pytest.fixture(params=["at once", "head by head"])
def slices(request, monkeypatch) -> None:
    if request.param == "head by head":
        monkeypatch.setattr(reference_latent, "UNPACK_ELEMENTS", 1)


@pytest.mark.usefixtures("slices")
def test_each_head_has_its_own_matrix():
    """The rows chosen of each head's, either way round."""
    weight, x, y = (
        torch.randn(HEADS * ROWS, IN),
        torch.randn(5, HEADS, IN),
        torch.randn(5, HEADS, 3),
    )
    straight = ops.head_linear(x, Weight.dense(weight), 2, 5)
    back = ops.head_linear(y, Weight.dense(weight), 2, 5, transposed=True)

    chosen = matrices(weight, 2, 5)
    assert torch.allclose(straight, torch.einsum("thi,hoi->tho", x, chosen), atol=1e-5)
    assert torch.allclose(back, torch.einsum("tho,hoi->thi", y, chosen), atol=1e-5)


@pytest.mark.usefixtures("slices")
@pytest.mark.parametrize("transposed", [False, True])
def test_packed_heads_are_unpacked(transposed):
    """Blocks give what their values would."""
    values = torch.randn(HEADS * ROWS, IN).numpy()
    kind = GGMLQuantizationType.Q8_0
    blocks = quantize(values, kind)
    packed = Weight("Q8_0", values.shape, torch.from_numpy(blocks), torch.float32)
    dense = Weight.dense(torch.from_numpy(dequantize(blocks, kind)))
    x = torch.randn(5, HEADS, 3 if transposed else IN)

    found = ops.head_linear(x, packed, 2, 5, transposed=transposed)
    assert torch.equal(found, ops.head_linear(x, dense, 2, 5, transposed=transposed))


def test_all_heads_attend_to_the_same_latents():
    """Values are the first part of what the scores are made with."""
    layout = layout_of([3], [3], torch.tensor([[1]]), 4)
    latents, rows, q = torch.full((2, 4, 6), torch.nan), torch.randn(3, 6), torch.randn(3, HEADS, 6)
    ops.latent_write(rows, latents, layout)

    found = ops.latent_attention(q, latents, layout, scale=0.3, value_dim=4)

    scores = torch.einsum("thn,sn->ths", q, rows) * 0.3
    hidden = torch.ones(3, 3).triu(1).bool()[:, None]
    expected = scores.masked_fill(hidden, -math.inf).softmax(-1) @ rows[:, :4]
    assert torch.allclose(found, expected, atol=1e-6)


def test_columns_are_taken_apart_and_joined():
    """Splitting the last axis and joining it again changes nothing."""
    x = torch.randn(5, HEADS, 6)
    parts = ops.select_columns(x, 0, 2), ops.select_columns(x, 2, 6)

    assert torch.equal(ops.concat(*parts), x)
