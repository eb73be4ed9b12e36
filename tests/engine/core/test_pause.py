"""A model that loses its weights between two tokens and gets them back says what it would have."""

import pytest
import torch

from engine.api import Sampling
from engine.kernels.cpu.library import is_available
from engine.wire import Output, Start
from tests.engine.core.paused import Pausable
from tests.engine.core.test_recurrent import MADE
from tests.engine.fixture_models import COMMITTED
from tests.engine.made_models import write

PROMPT = [(7 * place * place + 3) % 90 for place in range(77)]

CHOICES = [
    Sampling(temperature=0, logprobs=2),
    Sampling(temperature=1.2, seed=5, repetition_penalty=1.3, frequency_penalty=0.4, logprobs=0),
    Sampling(temperature=0.8, seed=9, top_p=0.9, presence_penalty=0.5, logit_bias={4: 2.0}),
    Sampling(temperature=0, prompt_logprobs=True, logprobs=1),
]
"""One for each sequence: greedy, seeded, with penalties, and with its prompt scored."""

PAUSES = {"now and then": (2, 9, 24), "at every third step": range(3, 60, 3)}
"""Steps after which it is paused: in prompts, while some generate, and while all do."""

COMMITTED_ONES = {
    "attention": "llama-plain",
    "window": "gemma2-softcap",
    "latent": "deepseek2-lite",
}


def starts() -> list[Start]:
    """Prompts of several lengths; the third begins as the first, and finds it in the cache."""
    prompts = [PROMPT, PROMPT[:9], [*PROMPT[:40], 1, 2], PROMPT[20:60]]
    return [
        Start(number, 1, prompt, 20, 0, [], CHOICES[number])
        for number, prompt in enumerate(prompts)
    ]


def tokens(outputs: dict[int, list[Output]]) -> dict[int, list[int]]:
    return {
        number: [t for output in of for t in output.token_ids] for number, of in outputs.items()
    }


def scores(outputs: dict[int, list[Output]]) -> list[float]:
    """Of the scored prompt, without its first token, which nothing predicts."""
    found = [score.logprob for output in outputs[3] for score in output.prompt_logprobs]
    assert found[0] is None
    return [logprob for logprob in found if logprob is not None]


@pytest.fixture(scope="module", params=[*COMMITTED_ONES, *MADE])
def model(request, tmp_path_factory) -> Pausable:
    folder = tmp_path_factory.mktemp(request.param)
    if request.param in MADE:
        path = write(folder / "hf", MADE[request.param]())
    else:
        path = COMMITTED / COMMITTED_ONES[request.param] / "hf"
    return Pausable(path, "dense", torch.float32, folder / "images")


@pytest.fixture(scope="module")
def undisturbed(model) -> dict[int, list[Output]]:
    return model.run(starts())


@pytest.mark.parametrize("pauses", PAUSES.values(), ids=PAUSES)
def test_a_pause_changes_nothing(model, undisturbed, pauses):
    """Tokens, log-probabilities, scores and ends: bit for bit, as the caches are handed over."""
    assert all(of[-1].finish_reason == "length" for of in undisturbed.values())
    assert model.run(starts(), pauses) == undisturbed


def test_lost_caches_are_computed_again(model, undisturbed):
    """The same tokens, each given out once, and each score."""
    found = model.run(starts(), [2, 9, 24], keep=lambda _: None)

    assert tokens(found) == tokens(undisturbed)
    assert scores(found) == pytest.approx(scores(undisturbed), abs=1e-4)


@pytest.mark.skipif(not is_available(), reason="there is no native library")
@pytest.mark.parametrize("name", ["llama-q", "gemma3-q"])
def test_a_program_made_anew_goes_on_over_the_same_caches(name, tmp_path):
    """What runs natively is compiled again for its caches, and changes nothing either."""
    (path, *_) = sorted((COMMITTED / name).glob("*.gguf"))
    model = Pausable(path, "tiled", torch.bfloat16, tmp_path)

    assert model.run(starts(), [2, 9, 24]) == model.run(starts())
