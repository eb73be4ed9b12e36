import pytest
import torch

from engine.kernels import ops, registry
from engine.kernels.registry import find, register
from engine.kernels.weight import DENSE, Weight


def test_a_dense_weight_knows_its_shape():
    """Dense data is the matrix itself."""
    weight = Weight.dense(torch.zeros(3, 2, dtype=torch.bfloat16))

    assert (weight.format, weight.shape, weight.dtype) == (DENSE, (3, 2), torch.bfloat16)
    assert weight.nbytes == 12


def test_rows_of_a_weight_keep_their_scales():
    """A run of rows or rows by index, of both tensors that hold them."""
    codes = torch.arange(12, dtype=torch.uint8).view(4, 3)
    scales = torch.tensor([[1.0], [2.0], [3.0], [4.0]])
    weight = Weight("FP8_ROW", (4, 3), codes, torch.bfloat16, scales)
    values = weight.unpack(torch.float32)

    assert weight.nbytes == 12 + 16
    for which in (slice(1, 3), torch.tensor([3, 0, 3])):
        rows = weight.rows(which)
        assert rows.shape == (len(values[which]), 3)
        assert torch.equal(rows.unpack(torch.float32), values[which])


def test_kernels_are_bound_when_a_weight_is_made(monkeypatch):
    """What is registered later serves weights that are made later."""
    monkeypatch.setattr(registry, "_kernels", dict(registry._kernels))
    early = Weight.dense(torch.ones(2, 2))
    register("linear", weight_format=DENSE, device="cpu")(lambda x, weight, bias=None: x * 7)
    late = Weight.dense(torch.ones(2, 2))
    x = torch.ones(1, 2)
    results = [ops.linear(x, weight).tolist() for weight in (early, late)]
    monkeypatch.undo()
    find.cache_clear()

    assert results == [[[2, 2]], [[7, 7]]]


def test_a_weight_that_no_kernel_takes_is_refused(monkeypatch):
    """The missing kernel shows at load, not in the first forward."""
    monkeypatch.setattr(registry, "_kernels", {})
    find.cache_clear()
    with pytest.raises(LookupError, match="linear with dense"):
        Weight.dense(torch.ones(2, 2))
    monkeypatch.undo()
    find.cache_clear()
