import pytest
import torch
from torch.nn import functional as F  # noqa: N812  # torch's own name for it

from engine.kernels import ops
from engine.kernels.trace import OnlyOps, Tape, UnrecordableError
from engine.kernels.weight import Weight


@pytest.fixture
def tape() -> Tape:
    return Tape()


@pytest.fixture
def x(tape):
    return tape.tensor("x", (3, 4), torch.float32)


def test_ops_are_recorded_in_order(tape, x):
    """Each call with its inputs by label, its shape and its settings."""
    weight = Weight("dense", (6, 4), tape.tensor("w", (6, 4), torch.float32), torch.float32)
    ops.scale(ops.add(ops.linear(x, weight), ops.linear(x, weight)), 0.5)

    assert [(call.op, call.inputs, call.output, call.shape) for call in tape.calls] == [
        ("linear", ("x", "w"), "%0", (3, 6)),
        ("linear", ("x", "w"), "%1", (3, 6)),
        ("add", ("%0", "%1"), "%2", (3, 6)),
        ("scale", ("%2",), "%3", (3, 6)),
    ]
    assert tape.calls[-1].settings == {"factor": 0.5}


@pytest.mark.parametrize(
    "slip",
    [
        lambda x: x + 1,
        lambda x: 2 * x,
        lambda x: x == 1,
        lambda x: x[0],
        lambda x: x.sum(),
        lambda x: x.T,
        lambda x: x.view(-1),
        lambda x: x.tolist(),
        list,
        F.silu,
        lambda x: torch.cat([x, x]),
        lambda x: "positive" if x else "negative",
        lambda x: x.add_(1),
        float,
    ],
)
def test_anything_else_raises(x, slip):
    """Arithmetic, indexing, torch functions, and looks at data that is not there."""
    with pytest.raises(UnrecordableError):
        slip(x)


@pytest.mark.parametrize(
    "slip", [lambda: torch.zeros(3), lambda: torch.arange(4), lambda: torch.ones(2) * 2]
)
def test_tensors_out_of_nothing_raise_while_recording(slip):
    """A forward may not make tensors of its own either."""
    made = torch.ones(2)
    with OnlyOps(), pytest.raises(UnrecordableError):
        slip()

    assert made.sum() == 2


def test_facts_may_be_asked(x):
    """Shape and dtype are known without data."""
    with OnlyOps():
        assert (x.shape, x.dtype) == ((3, 4), torch.float32)
