"""The engine as a library, on a real tiny checkpoint, against its reference."""

import json

import pytest

from engine.api import EngineError, Generation, Sampling
from engine.core.generate import LocalModel

GREEDY = Sampling(temperature=0)


@pytest.fixture(scope="module", params=["hf", "llama-plain-F32.gguf"])
def model(request, llama):
    return LocalModel.open(llama / request.param, dtype="float32")


@pytest.fixture(scope="module")
def reference(llama):
    """(prompt, results) pairs."""
    data = json.loads((llama / "reference.json").read_text())
    return list(zip(data["prompts"], data["files"]["hf"]["results"], strict=True))


def tokens(outputs, sequence: int = 0) -> list[int]:
    return [t for output in outputs if output.sequence == sequence for t in output.token_ids]


def test_greedy_output_is_the_references(model, reference):
    """Token for token, alone and in one batch."""
    runs = [(prompt, Generation(12, GREEDY)) for prompt, _ in reference]
    together = list(model.batch(runs))

    for number, (prompt, results) in enumerate(reference):
        assert tokens(model.generate(prompt, Generation(12, GREEDY))) == results["greedy"]
        assert tokens(together, number) == results["greedy"]


def test_prompt_logprobs_are_the_references(model, reference):
    """Each prompt token's log-probability, and the best at each position."""
    sampling = Sampling(temperature=0, prompt_logprobs=True, logprobs=20)
    for prompt, results in reference:
        outputs = list(model.generate(prompt, Generation(0, sampling)))
        scores = [scored for output in outputs for scored in output.prompt_logprobs]

        assert scores[0].logprob is None
        assert [s.logprob for s in scores[1:]] == pytest.approx(results["next"], abs=1e-4)
        for scored, expected in zip(scores[1:], results["positions"], strict=False):
            assert [v for _, v in scored.top] == pytest.approx([v for _, v in expected], abs=1e-4)


def test_a_reused_prefix_changes_nothing(model, reference):
    """The second run takes its blocks from the first, and says the same."""
    prompt, results = reference[0]
    list(model.generate(prompt, Generation(1, GREEDY)))
    outputs = list(model.generate(prompt, Generation(12, GREEDY)))

    assert outputs[0].cached_tokens == 32
    assert tokens(outputs) == results["greedy"]


def test_preemption_changes_nothing(llama, reference):
    """With a cache too small for the batch, sequences give way, return, and say the same."""
    small = LocalModel.open(llama / "hf", dtype="float32", kv_tokens=64)
    prompt, _ = reference[0]
    runs = [([first, *prompt[1:]], Generation(20, Sampling(seed=first))) for first in range(4)]
    alone = [tokens(small.generate(*run)) for run in runs]
    together = list(small.batch(runs))

    assert [tokens(together, number) for number in range(4)] == alone


def test_seeds_repeat_and_differ(model, reference):
    """The same seed gives the same text whatever runs beside it; another seed another text."""
    prompt, _ = reference[1]
    runs = [(prompt, Generation(16, Sampling(temperature=1.5, seed=seed))) for seed in range(3)]
    together = list(model.batch(runs))
    alone = [tokens(model.generate(*run)) for run in runs]

    assert [tokens(together, number) for number in range(3)] == alone
    assert len({tuple(ids) for ids in alone}) == 3


def test_closing_early_frees_the_cache(model, reference):
    """Whoever stops listening leaves nothing behind."""
    prompt, _ = reference[0]
    outputs = model.generate(prompt, Generation(50, GREEDY))
    next(outputs)
    outputs.close()

    model._resident.scheduler.check()
    assert model._resident.is_idle


def test_a_refused_run_raises(model):
    """What cannot run is an error of ours, not of torch's."""
    with pytest.raises(EngineError) as error:
        list(model.generate([10**6], Generation(1)))

    assert error.value.code == "bad_request"
