"""Native norms against the reference."""

import pytest
import torch
from torch import Tensor

from engine.kernels import ops
from engine.kernels.cpu.calls import Threads, run
from tests.engine.tiled_weights import ISAS, limited_to, needs_library

pytestmark = needs_library

EPS = 1e-5
SHAPES = ((1, 1), (3, 5), (7, 64), (2, 3, 16), (5, 4, 80), (2, 576), (900, 129))


@pytest.fixture(scope="module")
def threads() -> Threads:
    return Threads(2)


def _native(threads: Threads, name: str, *inputs: Tensor | None) -> Tensor:
    x = inputs[0]
    assert x is not None
    result = torch.full_like(x, torch.nan)
    run(threads, name, inputs, result, (EPS, x.shape[-1]))
    return result


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_norms_are_the_reference(threads: Threads, isa: str, shape: tuple[int, ...]) -> None:
    """Over each head's values, with and without weights, at every width."""
    x, weight, bias = torch.randn(shape) * 3 + 1, torch.randn(shape[-1]), torch.randn(shape[-1])
    with limited_to(isa):
        for scale in (weight, None):
            found = _native(threads, "rms_norm", x, scale)
            torch.testing.assert_close(found, ops.rms_norm(x, scale, EPS))
            for offset in (bias, None):
                found = _native(threads, "layer_norm", x, scale, offset)
                torch.testing.assert_close(
                    found, ops.layer_norm(x, scale, offset, EPS), atol=1e-5, rtol=1e-5
                )
        torch.testing.assert_close(_native(threads, "l2_norm", x), ops.l2_norm(x, EPS))


@pytest.mark.parametrize("isa", ISAS)
def test_each_head_has_its_own_weights(threads: Threads, isa: str) -> None:
    """Of a layer norm whose weights are (H, n)."""
    x, weight, bias = torch.randn(6, 3, 20), torch.randn(3, 20), torch.randn(3, 20)
    with limited_to(isa):
        found = _native(threads, "layer_norm", x, weight, bias)
    torch.testing.assert_close(found, ops.layer_norm(x, weight, bias, EPS), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("isa", ISAS)
def test_what_is_not_finite_stays_so(threads: Threads, isa: str) -> None:
    """A NaN spoils its own row and no other."""
    x = torch.randn(3, 40)
    x[1, 7] = torch.nan
    with limited_to(isa):
        found = _native(threads, "rms_norm", x, None)
    assert found[1].isnan().all()
    assert found[[0, 2]].isfinite().all()
