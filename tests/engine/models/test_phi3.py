"""LongRoPE's two sets of frequencies, and the switch between them, against transformers."""

import pytest
import torch
from transformers import Phi3Config, Phi3ForCausalLM

from engine.api import Sampling
from engine.core.opening import open_resident
from engine.core.sequence import Sequence
from tests.engine.fixture_models import write_hf
from tests.engine.made_models import PROMPT, SIZES, config_of, make, ours, theirs, write

SHORT = [1.0, 1.1, 1.2, 1.3]
LONG = [1.5, 2.5, 4.0, 6.0]


def phi3(original: int) -> Phi3ForCausalLM:
    rope = {"rope_type": "longrope", "rope_theta": 1e4, "short_factor": SHORT, "long_factor": LONG}
    config = Phi3Config(**SIZES, rope_parameters=rope, original_max_position_embeddings=original)
    return make(Phi3ForCausalLM, config)


@pytest.mark.parametrize("original", [64, len(PROMPT), len(PROMPT) - 1, 4])
def test_frequencies_go_by_the_whole_length(tmp_path, original):
    """A prompt of just the original length has the short ones, one more token and all is long."""
    model = phi3(original)

    assert torch.allclose(ours(write(tmp_path, model)), theirs(model), rtol=0, atol=1e-3)


@pytest.mark.parametrize("kind", ["su", "yarn"])
def test_old_names_of_longrope(tmp_path, kind):
    """What Phi-3's own files called it before it had its name, and where they had the length."""
    model = phi3(8)
    config = config_of(model)
    rope = config.pop("rope_parameters")
    old = {"type": kind, "short_factor": SHORT, "long_factor": LONG}
    config |= {"rope_scaling": old, "rope_theta": rope["rope_theta"]}
    path = write_hf(tmp_path, config, model.state_dict())

    assert torch.allclose(ours(path), theirs(model), rtol=0, atol=1e-3)


def generated(path, prompts: list[list[int]], max_tokens: int) -> list[list[int]]:
    """What the best tokens of all prompts are, computed side by side."""
    resident, _ = open_resident(path, "dense", torch.float32, kv_tokens=512)
    greedy = Sampling(temperature=0.0)
    sequences = [Sequence(list(prompt), max_tokens, greedy) for prompt in prompts]
    for sequence in sequences:
        resident.scheduler.add(sequence)
    while not resident.is_idle:
        resident.step(prefill_seconds=1.0)
        resident.scheduler.check()
    return [sequence.token_ids for sequence in sequences]


def test_a_sequence_that_outgrows_the_length_is_computed_anew(tmp_path):
    """Greedy text across the switch is transformers', whose cache is dropped there, too."""
    model = phi3(32)
    prompts = [PROMPT, PROMPT[:20], [*PROMPT, *PROMPT]]
    found = generated(write(tmp_path, model), prompts, max_tokens=24)

    for prompt, tokens in zip(prompts, found, strict=True):
        expected = list(prompt)
        for _ in range(24):
            with torch.no_grad():
                logits = model(torch.tensor([expected]), use_cache=False).logits
            expected.append(int(logits[0, -1].argmax()))
        assert tokens == expected


def test_blocks_are_not_shared_across_the_switch(tmp_path):
    """Tokens cached of a short sequence are none for a long one that begins alike."""
    model = phi3(32)
    long = [*PROMPT, *PROMPT]
    path = write(tmp_path, model)
    resident, _ = open_resident(path, "dense", torch.float32, kv_tokens=512)
    cached = []
    for prompt in (long[:30], long, long[:31]):
        sequence = Sequence(list(prompt), 1, Sampling(temperature=0.0))
        resident.scheduler.add(sequence)
        while not resident.is_idle:
            resident.step(prefill_seconds=1.0)
        cached.append(sequence.num_cached)

    assert cached == [0, 0, 16]
