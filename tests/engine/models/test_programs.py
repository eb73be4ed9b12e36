"""Every family as a native program, against the same independent reference results."""

from collections import Counter

import pytest
import torch

from engine.kernels.cpu.library import is_available
from engine.nn.module import parameters
from tests.engine.batches import Sequences, logprobs_of
from tests.engine.fixture_models import Variant
from tests.engine.models.test_families import (
    VARIANTS,
    chunked,
    tolerance,
    worst_difference,
)
from tests.engine.programmed import Programmed

pytestmark = pytest.mark.skipif(not is_available(), reason="the native library is not built")

EXACT = [variant for variant in VARIANTS if not variant.is_quantised]
ROUNDED = [variant for variant in VARIANTS if variant.is_quantised]

ROUNDED_ACTIVATIONS = 0.5
"""What 8-bit activations cost on random weights; llama.cpp's own are as far from the exact result."""

SAME = 2e-4

FORM = {False: "dense", True: "packed"}
"""Quantised weights as they are stored, all others in float32."""


@pytest.mark.parametrize("variant", EXACT, ids=str)
def test_a_program_computes_what_the_original_does(variant: Variant):
    """In float32, whole and token by token."""
    model = Programmed(variant.path, FORM[variant.is_quantised], torch.float32)

    for prompt, result in zip(variant.prompts, variant.results, strict=True):
        assert worst_difference(logprobs_of(model, prompt), result) <= tolerance(variant)
        sequences = Sequences(model, 1, len(prompt))
        steps = [sequences.step({0: [token]})[0] for token in prompt]
        assert worst_difference(torch.cat(steps), result) <= tolerance(variant)


@pytest.mark.parametrize("variant", EXACT, ids=str)
def test_neighbours_do_not_matter_to_a_program(variant: Variant):
    """Sequences of mixed lengths in one batch, prefilling and decoding, equal each alone."""
    model = Programmed(variant.path, FORM[variant.is_quantised], torch.float32)
    long, short = variant.prompts
    sequences = Sequences(model, 3, len(long))
    waiting = {0: chunked(long, 3), 1: [[token] for token in short], 2: [long[:17]]}
    found: dict[int, list[torch.Tensor]] = {index: [] for index in waiting}
    while waiting:
        for index, logprobs in sequences.step({i: c.pop(0) for i, c in waiting.items()}).items():
            found[index].append(logprobs.clone())
        waiting = {index: chunks for index, chunks in waiting.items() if chunks}

    for index, prompt in enumerate((long, short, long[:17])):
        alone = logprobs_of(model, prompt)
        assert torch.allclose(torch.cat(found[index]), alone, rtol=0, atol=SAME)


@pytest.mark.parametrize("variant", ROUNDED, ids=str)
def test_quantised_programs_stay_near_the_reference(variant: Variant):
    """Activations of 8 bits move log-probs no further than in other engines."""
    model = Programmed(variant.path, FORM[variant.is_quantised], torch.float32)

    for prompt, result in zip(variant.prompts, variant.results, strict=True):
        if not any(".experts." in parameter.path for parameter in parameters(model.model)):
            assert worst_difference(logprobs_of(model, prompt), result) <= ROUNDED_ACTIVATIONS


def test_hardly_anything_falls_back_to_torch():
    """What families run natively, all of it but what is named here."""
    missing: Counter[str] = Counter()
    for variant in {variant.model: variant for variant in VARIANTS}.values():
        model = Programmed(variant.path, FORM[variant.is_quantised], torch.float32)
        logprobs_of(model, variant.prompts[1])
        missing += Counter(model.fallbacks)

    assert set(missing) <= FALLBACKS


FALLBACKS: set[str] = set()
