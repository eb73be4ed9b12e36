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
