"""Models with states, whole: reused, preempted and batched they say what they say alone."""

from pathlib import Path

import pytest
import torch
import transformers

from engine.api import Generation, Sampling
from engine.checkpoint import open_checkpoint
from engine.core.generate import LocalModel
from engine.core.opening import open_resident
from engine.models.card import describe
from engine.wire import Output
from tests.engine.made_models import SIZES, make, write

PROMPT = [(7 * place * place + 3) % 90 for place in range(77)]
GREEDY = Sampling(temperature=0)
SSM = {"conv_kernel": 4, "expand": 2}


def made_mamba() -> transformers.PreTrainedModel:
    """Nothing but states."""
    config = transformers.MambaConfig(**SIZES, **SSM, state_size=8)
    return make(transformers.MambaForCausalLM, config)


def made_falcon_h1() -> transformers.PreTrainedModel:
    """States and keys and values in every layer."""
    config = transformers.FalconH1Config(
        **SIZES, mamba_d_ssm=64, mamba_n_heads=4, mamba_d_head=16, mamba_d_state=8, mamba_n_groups=1
    )
    return make(transformers.FalconH1ForCausalLM, config)


def made_lfm2() -> transformers.PreTrainedModel:
    """States in some layers, keys and values in the others."""
    types = ["conv", "full_attention", "conv", "conv"]
    config = transformers.Lfm2Config(**SIZES, layer_types=types, block_auto_adjust_ff_dim=False)
    return make(transformers.Lfm2ForCausalLM, config)


MADE = {"mamba": made_mamba, "falcon_h1": made_falcon_h1, "lfm2": made_lfm2}


@pytest.fixture(scope="module", params=MADE)
def path(request, tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp(request.param) / "hf", MADE[request.param]())


@pytest.fixture
def model(path) -> LocalModel:
    return LocalModel.open(path, dtype="float32")


@pytest.fixture(scope="module")
def undisturbed(path) -> LocalModel:
    """One slot keeps nothing for reuse."""
    return LocalModel.open(path, dtype="float32", state_slots=1)


def tokens(outputs: list[Output], sequence: int = 0) -> list[int]:
    return [t for output in outputs if output.sequence == sequence for t in output.token_ids]


def run(model: LocalModel, prompt: list[int], max_tokens: int = 24) -> tuple[list[int], int]:
    """The tokens, and how many of the prompt were reused."""
    outputs = list(model.generate(prompt, Generation(max_tokens, GREEDY)))
    model._resident.scheduler.check()
    return tokens(outputs), outputs[0].cached_tokens


def test_a_repeated_prompt_resumes_from_its_snapshot(model, undisturbed):
    """It computes what is behind the last block boundary, and says the same."""
    expected = run(undisturbed, PROMPT)
    assert expected[1] == 0
    assert run(model, PROMPT) == expected

    assert run(model, PROMPT) == (expected[0], 64)


def test_the_next_turn_resumes_near_the_end_of_the_last(model, undisturbed):
    """What was generated need not be computed again either."""
    answer, _ = run(model, PROMPT)
    turn = [*PROMPT, *answer, 11, 12, 13]

    assert run(model, turn) == (run(undisturbed, turn)[0], 96)


def test_a_system_prompt_is_computed_twice(model, undisturbed):
    """The third request that begins with it, and those after, resume behind it."""
    prompts = [[*PROMPT, *[user] * 30] for user in range(3, 7)]
    results = [run(model, prompt) for prompt in prompts]

    assert [reused for _, reused in results] == [0, 0, 64, 64]
    assert [said for said, _ in results] == [run(undisturbed, prompt)[0] for prompt in prompts]


def test_batch_mates_change_nothing(model, undisturbed):
    """Prompts of many lengths, together in steps, each with its own state."""
    runs = [(PROMPT[: 5 + 9 * number], Generation(20, GREEDY)) for number in range(8)]
    together = list(model.batch(runs))

    for number, (prompt, _) in enumerate(runs):
        assert tokens(together, number) == run(undisturbed, prompt, 20)[0]


def test_too_few_slots_make_sequences_wait(path, undisturbed):
    """And change none of them."""
    small = LocalModel.open(path, dtype="float32", state_slots=2)
    runs = [([first, *PROMPT[1:20]], Generation(20, GREEDY)) for first in range(4)]
    together = list(small.batch(runs))

    for number, (prompt, _) in enumerate(runs):
        assert tokens(together, number) == run(undisturbed, prompt, 20)[0]


def test_preemption_changes_nothing(path):
    """Those that lose their blocks begin again, or at a snapshot, and say the same."""
    small = LocalModel.open(path, dtype="float32", kv_tokens=128)
    runs = [([first, *PROMPT[1:40]], Generation(40, Sampling(seed=first))) for first in range(4)]
    alone = [tokens(list(small.generate(*run))) for run in runs]
    together = list(small.batch(runs))

    assert [tokens(together, number) for number in range(4)] == alone


def test_scores_are_those_of_the_whole_prompt(model, undisturbed):
    """A scored prompt resumes nothing, whatever is kept."""
    run(model, PROMPT)
    scored = Generation(1, Sampling(temperature=0, prompt_logprobs=True, logprobs=0))
    ours, fresh = (list(each.generate(PROMPT, scored)) for each in (model, undisturbed))

    assert ours[-1].cached_tokens == 0
    found, expected = (
        [score.logprob for output in outputs for score in output.prompt_logprobs[1:]]
        for outputs in (ours, fresh)
    )
    assert found == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("slots", [1, 2, 5])
def test_what_is_allocated_is_what_was_counted(path, slots):
    """A placement's bytes are those of the loaded model's caches, to the byte."""
    with open_checkpoint(path) as checkpoint:
        (footprint, *_) = describe(checkpoint, torch.bfloat16).footprints
    _, report = open_resident(path, footprint.form, torch.bfloat16, 64, slots)

    assert report.kv_bytes == 64 * footprint.kv_bytes_per_token
    assert report.state_bytes == slots * footprint.state_bytes_per_sequence
    taken = report.weights_bytes + report.kv_bytes + report.state_bytes
    assert taken + footprint.workspace_bytes == footprint.total(64, slots)
