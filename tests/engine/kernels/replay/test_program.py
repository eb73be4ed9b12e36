"""Every family's forward replayed step by step, fused: the same logits to the last bit, in the reference."""

from collections import Counter

import pytest
import torch

from engine.checkpoint import open_checkpoint
from engine.kernels.batch import BatchLayout, ForwardBatch
from engine.kernels.reference_fused import FUSED, drawn_ids
from engine.kernels.replay.program import Listing, Program, listing_of
from engine.models.blueprint import blueprint
from engine.models.card import tape_of
from engine.nn.decoder import CausalLM
from engine.nn.module import parameters
from tests.engine.batches import Sequences
from tests.engine.fixture_models import Variant, variants

MODELS = list({variant.model: variant for variant in variants("")}.values())

DENSE = {"linears": 1, "gated": 1, "rope_cache_write": 1, "paged_attention": 1}
"""What a plain layer has, beside two norms and two products."""

EXPECTED = {
    "llama-plain": (2, DENSE, {"add_rms_norm": 3, "linear_add": 1, "rms_norm": 2, "linear": 3}),
    "qwen2-plain": (2, DENSE, {"add_rms_norm": 3, "linear_add": 1, "rms_norm": 2}),
    "qwen3-dense": (2, DENSE, {"add_rms_norm": 3, "linear_add": 1}),
    "ministral3-yarn": (2, DENSE, {"add_rms_norm": 3, "scale_by_position": 2}),
    "olmo1-layernorm": (2, DENSE, {"linear_add": 4, "add": 0}),
    "phi2-parallel": (2, {"linears": 1, "rope_cache_write": 1}, {"linear_add": 4, "add": 0}),
    "gemma2-softcap": (3, DENSE, {"add_rms_norm": 5}),
    "gemma4-shared-kv": (1, {}, {"rope_cache_write": 2, "rope": 2, "paged_attention": 4}),
    "mixtral-moe": (
        2,
        {"route": 1, "gated_experts": 1, "combined_experts": 1, "linears": 1},
        {"choose_experts": 0, "weigh_experts": 0, "expert_linear": 0, "add_rms_norm": 3},
    ),
    "gptoss-mxfp4": (
        2,
        {"route": 1, "gated_experts": 1, "combined_experts": 1},
        {"expert_linear": 0},
    ),
    "deepseek2-lite": (1, {}, {"route": 1, "gated_experts": 1, "gated": 2, "rope_cache_write": 0}),
}
"""Layers, what each has, and what all of a model has besides."""


@pytest.fixture(params=MODELS, ids=lambda variant: variant.model)
def variant(request) -> Variant:
    return request.param


def listed(variant: Variant, dtype: torch.dtype = torch.float32) -> Listing:
    with open_checkpoint(variant.path) as checkpoint:
        return listing_of(tape_of(blueprint(checkpoint).model, dtype))


class Replayed:
    """As a `CausalLM`: asserts that a program gives exactly what the model gives, and caches the same."""

    def __init__(self, variant: Variant, model: CausalLM) -> None:
        self.model, self.listing = model, listed(variant)
        self.cache_specs = model.cache_specs
        self._others: dict[int, torch.Tensor] = {}

    def forward(self, batch: ForwardBatch, caches) -> torch.Tensor:
        constants = {each.path: each.get() for each in parameters(self.model)}
        for index, cache in enumerate(caches):
            for name, tensor in cache.by_name.items():
                kept = self._others.setdefault(id(tensor), tensor.clone())
                kept.copy_(tensor)  # states that were left are spoilt between two steps
                constants[f"cache.{index}.{name}"] = kept
        logits = Program(self.listing, constants, torch.device("cpu")).run(batch)
        expected = self.model.forward(batch, caches)
        assert torch.equal(logits, expected)
        for cache in caches:
            for tensor in cache.tensors:
                kept = self._others[id(tensor)]
                assert torch.equal(kept.nan_to_num(7), tensor.nan_to_num(7))
        return logits


def test_a_program_gives_what_the_model_gives(variant, load_model):
    """Prompts in chunks and decodes, side by side; what is written to caches is the same, too."""
    form = "packed" if variant.is_quantised else "dense"
    model = Replayed(variant, load_model(variant.path, form, torch.float32))
    long, short = variant.prompts
    sequences = Sequences(model, 2, len(long))

    sequences.step({0: long[:9], 1: short[:4]})
    sequences.step({0: long[9:12], 1: short[4:5]})
    sequences.step({0: long[12:13], 1: short[5:6]})


@pytest.mark.parametrize("name", EXPECTED)
def test_what_can_be_fused_is(name):
    """By family; the ops that a fused one stands for are gone."""
    (variant,) = (variant for variant in MODELS if variant.model == name)
    found = listed(variant, torch.bfloat16).ops
    num_layers, of_each, beside = EXPECTED[name]
    expected = {op: num_layers * count for op, count in of_each.items()} | beside

    assert {op: found[op] for op in expected} == expected


def test_every_fused_op_is_found_somewhere():
    """A pattern that no family has would never run."""
    found: Counter[str] = Counter()
    for variant in MODELS:
        found += listed(variant).ops

    assert found.keys() >= FUSED.keys()


def test_steps_wait_for_their_weights_once():
    """Each parameter is waited for before the first step that reads it, in the order of the steps."""
    variant = next(variant for variant in MODELS if variant.model == "llama-plain")
    waited: list[int] = []

    class Late:
        is_complete = False

        def wait_for_all(self) -> None:
            self.is_complete = True

        def wait_for(self, segment: int) -> None:
            waited.append(segment)
            values[segment].fill_(1)

    with open_checkpoint(variant.path) as checkpoint:
        model = blueprint(checkpoint).model
        listing = listing_of(tape_of(model, torch.float32))
    constants, values = {}, []
    for each in parameters(model):
        made = torch.full(each.slot.shape, torch.nan)
        values.append(made)
        constants[each.path] = made
    numbers = {each.path: number for number, each in enumerate(parameters(model))}
    constants = weights_of(model, constants) | {
        f"cache.{layer}.{name}": torch.zeros(2, 16, spec.num_heads, spec.head_dim)
        for layer, spec in enumerate(model.cache_specs)
        for name in ("keys", "values")
    }
    program = Program(listing, constants, torch.device("cpu"), Late(), numbers)

    assert program.run(one_token()).isfinite().all()
    assert sorted(waited) == list(range(len(values)))
    first = list(waited)
    program.run(one_token())
    assert waited == first, "what has come is not waited for again"


def weights_of(model, values):
    from engine.kernels.weight import Weight
    from engine.nn.module import Matrix

    return {
        each.path: Weight.dense(values[each.path])
        if isinstance(each.slot, Matrix)
        else values[each.path]
        for each in parameters(model)
    }


def one_token() -> ForwardBatch:
    layout = BatchLayout(
        query_starts=torch.tensor([0, 1]),
        context_lens=torch.tensor([1]),
        block_tables=torch.tensor([[0]]),
        slots=torch.tensor([0]),
        state_reads=torch.tensor([-1]),
        state_writes=torch.tensor([-1]),
        block_size=16,
    )
    zero = torch.tensor([0])
    return ForwardBatch(torch.tensor([3]), zero, torch.tensor([1]), zero, layout)


def test_tokens_that_the_device_drew_are_put_in_place():
    """-1 - row stands for a row of what was drawn; where nothing was, any token that exists."""
    drawn = torch.tensor([40, -1, 42])

    assert drawn_ids(torch.tensor([7, -3, 0, -1, -2]), drawn).tolist() == [7, 42, 0, 40, 0]
