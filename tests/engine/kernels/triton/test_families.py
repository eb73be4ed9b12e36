"""Whole models by Triton's kernels alone, in the interpreter: the reference's logits, and its caches.

Weights are as a GPU has them: quantised ones in planes.
"""

from collections import Counter

import pytest
import torch

pytest.importorskip("triton", reason="Triton is for Linux alone")

from engine.checkpoint import open_checkpoint
from engine.kernels import registry
from engine.kernels.batch import ForwardBatch
from engine.kernels.planes import planes_format, planes_rows
from engine.kernels.replay.program import Program, listing_of
from engine.kernels.triton.install import install
from engine.kernels.weight import DENSE, Weight
from engine.models.blueprint import blueprint
from engine.models.card import tape_of
from engine.nn.module import parameters
from tests.engine.batches import Sequences
from tests.engine.fixture_models import Variant, variants

pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered in exp:RuntimeWarning")

ALL = variants("")
QUICK = "llama-plain/llama-plain-F32.gguf"
TOLERANCE = 2e-4

PLAIN = {
    *(
        "embedding",
        "add",
        "silu",
        "gelu",
        "gelu_tanh",
        "sigmoid",
        "tanh",
        "exp",
        "clamp",
        "widen",
        "concat",
    ),
    *("select_rows", "select_columns", "select_stream", "split_heads", "merge_heads", "ids_below"),
}
"""Ops that are one call of torch each on any device, or two."""


@pytest.fixture
def interpreted(monkeypatch):
    """Kernels for the CPU are Triton's, until the test has ended."""
    monkeypatch.setattr(registry, "_kernels", dict(registry._kernels))
    registry.find.cache_clear()
    install("cpu")
    yield
    registry.find.cache_clear()


class Interpreted:
    """As a `CausalLM`: asserts that a program of Triton's kernels gives what the model gives."""

    def __init__(self, variant: Variant, model, others) -> None:
        with open_checkpoint(variant.path) as checkpoint:
            self.listing = listing_of(tape_of(blueprint(checkpoint).model, torch.float32))
        self.model, self.cache_specs, self._others = model, model.cache_specs, others
        self._kept: dict[int, torch.Tensor] = {}

    def forward(self, batch: ForwardBatch, caches) -> torch.Tensor:
        constants = dict(self._others)
        for index, cache in enumerate(caches):
            for name, tensor in cache.by_name.items():
                kept = self._kept.setdefault(id(tensor), tensor.clone())
                kept.copy_(tensor)
                constants[f"cache.{index}.{name}"] = kept
        program = Program(self.listing, constants, torch.device("cpu"))
        assert program.references.keys() <= PLAIN
        logits = program.run(batch)
        expected = self.model.forward(batch, caches)
        scale = expected.abs().max()
        torch.testing.assert_close(logits / scale, expected / scale, atol=TOLERANCE, rtol=0)
        for cache in caches:
            for tensor in cache.tensors:
                kept = self._kept[id(tensor)]
                torch.testing.assert_close(
                    kept, tensor, atol=TOLERANCE, rtol=TOLERANCE, equal_nan=True
                )
        return logits


def in_planes(value: Weight | torch.Tensor) -> Weight | torch.Tensor:
    """A parameter as a GPU has it, with the kernels that are registered now."""
    if not isinstance(value, Weight):
        return value
    if value.format == DENSE:
        return Weight(DENSE, value.shape, value.data, value.dtype)
    name = planes_format(value.format, value.dtype)
    assert name is not None, value.format
    return Weight(name, value.shape, planes_rows(value), value.dtype)


def check(variant: Variant, load_model) -> None:
    form = "packed" if variant.is_quantised else "dense"
    model = load_model(variant.path, form, torch.float32)
    others = {each.path: in_planes(each.get()) for each in parameters(model)}
    interpreted = Interpreted(variant, model, others)
    long, short = variant.prompts
    sequences = Sequences(interpreted, 2, len(long))

    sequences.step({0: long[:3], 1: short[:1]})
    sequences.step({0: long[3:4], 1: short[1:2]})


@pytest.mark.usefixtures("interpreted")
def test_a_family(load_model):
    """All others take minutes."""
    (variant,) = (variant for variant in ALL if QUICK.endswith(variant.key))

    check(variant, load_model)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("interpreted")
@pytest.mark.parametrize("variant", ALL, ids=str)
def test_every_family_and_format(variant, load_model):
    check(variant, load_model)


def test_kernels_of_triton_are_found_for_a_gpu_alone():
    """Registering them for one device leaves all others as they were."""
    before = Counter(kernel.__module__ for kernel in registry._kernels.values())

    assert not any(name.startswith("engine.kernels.triton") for name in before)
