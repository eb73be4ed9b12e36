"""The draw in Triton against the definition in torch."""

import math

import pytest
import torch

pytest.importorskip("triton", reason="Triton is for Linux alone")

from engine.api import Failure, Sampling
from engine.kernels.triton import sampling as kernels
from engine.sampling import device, sampler, upload
from engine.sampling.adjust import adjust
from engine.sampling.choose import choose
from engine.sampling.draw import Choice, Draw

GREEDY = Sampling(temperature=0)
WISHES = [
    GREEDY,
    Sampling(),
    Sampling(temperature=0.3),
    Sampling(top_k=1),
    Sampling(top_k=5),
    Sampling(top_k=100),
    Sampling(top_p=0.9),
    Sampling(top_p=0.0),
    Sampling(min_p=0.05),
    Sampling(min_p=1.0),
    Sampling(top_k=50, top_p=0.8, min_p=0.02, temperature=0.7),
    Sampling(temperature=50.0, top_p=0.9),
    Sampling(temperature=0.01, top_p=0.999),
    Sampling(temperature=3.0, top_k=60, top_p=0.97),
]


class At(Draw):
    """A draw whose uniform number is given."""

    @property
    def uniform(self) -> float:
        return self.seed / 2**32


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Vocabularies of hundreds are of several blocks and chunks, and too many to collect."""
    monkeypatch.setattr(kernels, "MIN_BLOCK", 64)
    monkeypatch.setattr(kernels, "CHUNK", 128)
    monkeypatch.setattr(kernels, "CAPACITY", 100)


def draws_of(count: int, wishes=WISHES) -> list[Draw]:
    return [Draw(wishes[row % len(wishes)], row, [0], 1) for row in range(count)]


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_tokens_are_those_of_the_definition():
    """The same logits and number give the same token, whatever is asked."""
    logits, draws = normal(1, len(WISHES), 193) * 3, draws_of(len(WISHES))

    assert device.draw(logits, draws).tolist() == choose(logits, draws)


def test_equals_stay_in_order():
    """Many tokens weigh the same; of those at a boundary, the first stay."""
    wishes = [Sampling(top_k=9), Sampling(top_p=0.3), Sampling(top_k=30, top_p=0.5)]
    draws = [At(wish, 2**32 - 1, [0], 1) for wish in wishes]  # the last that stays
    logits = normal(2, 3, 150).round()

    assert device.draw(logits, draws).tolist() == choose(logits, draws)


@pytest.mark.parametrize("spread", [0.1, 1.0, 4.0, 30.0])
@pytest.mark.parametrize("vocab", [1, 7, 64, 65, 1000])
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_tokens_are_those_of_the_definition_everywhere(spread, vocab):
    """Many rows, some with ties and with tokens that are barred."""
    logits = normal(vocab, 5 * len(WISHES), vocab) * spread
    logits[::3] = logits[::3].round()
    adjusted = logits.clone()
    adjusted[::2, 1 : vocab // 2] = -torch.inf
    draws = draws_of(len(logits))

    assert device.draw(adjusted, draws, logits).tolist() == choose(adjusted, draws)


@pytest.mark.parametrize("capacity", [0, 100])
def test_boundaries_are_exact(capacity, monkeypatch):
    """Searching a whole row, or what may stay of it: of falling logits, the last that stays is drawn."""
    wishes = [Sampling(top_k=20, top_p=0.999), Sampling(top_p=0.7), Sampling(min_p=0.1)]
    logits = torch.linspace(0, -6, 200).repeat(3, 1)
    draws = [At(wish, 2**32 - 1, [0], 1) for wish in wishes]
    monkeypatch.setattr(kernels, "CAPACITY", capacity)

    drawn = device.draw(logits, draws).tolist()

    assert drawn == choose(logits, draws)
    assert drawn[0] == 19
    assert drawn[2] == int(math.log(10) / 6 * 199)


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(top_k=4), Sampling(min_p=0.001)])
def test_any_number_gives_a_token(sampling):
    """The least and the greatest, and where all the mass is in one block."""
    numbers = (0, 1, 2**31, 2**32 - 1, 2**32)  # the last is 1 itself, which only rounding can give
    draws = [At(sampling, number, [0], 1) for number in numbers]
    logits = torch.full((5, 200), -300.0)
    logits[:, 70:80] = torch.arange(10) / 4

    tokens = device.draw(logits, draws).tolist()

    assert tokens[-1] in range(70, 80)
    assert tokens[:-1] == choose(logits[:-1], draws[:-1])


def test_extreme_temperatures_overflow_nothing():
    """Nor do extreme logits."""
    logits = normal(4, 3, 130)
    logits[2] *= 1e30
    wishes = [
        Sampling(temperature=1e38, top_k=7),
        Sampling(temperature=1e300, top_p=0.5),
        Sampling(temperature=1.1e-5, top_p=0.5),
    ]
    draws = draws_of(3, wishes)

    assert device.draw(logits, draws).tolist() == choose(logits, draws)


@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("is_adjusted", [False, True])
def test_a_broken_row_fails_alone(poison, is_adjusted):
    """Wherever it is broken, and whatever is asked of it.

    What is drawn from may bar a token; what the model gave may not.
    """
    draws = draws_of(6, [GREEDY, Sampling(), Sampling(top_k=3)])
    logits = normal(5, 6, 130)
    broken = logits.clone()
    broken[[0, 2, 4], [0, 63, 129]] = poison
    expected = choose(logits, draws)
    expected[0] = expected[2] = expected[4] = device.UNSOUND

    got = device.draw(logits, draws, broken) if is_adjusted else device.draw(broken, draws)

    assert got.tolist() == expected


def test_barred_tokens_are_never_drawn():
    """Blocks without any token that may come, and rows without one."""
    raw = torch.zeros(6, 200)
    logits = torch.full((6, 200), -torch.inf)
    logits[:3, 150] = -3.0
    logits[3:, 3] = torch.tensor([-torch.inf, torch.inf, -torch.inf])
    draws = draws_of(6, [GREEDY, Sampling(), Sampling(top_k=3, top_p=0.5)])

    assert device.draw(logits, draws, raw).tolist() == [150] * 3 + [device.NO_CHOICE] * 3


def test_the_first_of_the_best_is_taken():
    """Of equals in one block, and in several."""
    logits = torch.zeros(2, 200)
    logits[0, [70, 71, 199]] = 1.0
    draws = draws_of(2, [GREEDY])

    assert device.draw(logits, draws).tolist() == [70, 0]


def test_a_choice_does_not_depend_on_the_batch():
    """Not on rows that fill it up, either, nor on whether others are filtered."""
    logits, draws = normal(6, 4, 150), draws_of(4, [GREEDY, Sampling()])
    whole = device.draw(logits, draws).tolist()
    parameters = device.prepare([*draws[:3], Draw(Sampling(top_k=2), 1, [0], 1)], 6)
    out = torch.empty(6, dtype=torch.int64)
    device.draw_into(logits[[0, 1, 2, 3, 3, 3]], parameters, out)

    assert parameters.has_filters
    assert not device.prepare(draws).has_filters
    assert out[:3].tolist() == whole[:3]
    assert out[4] == out[5] == logits[3].argmax()
    assert device.draw(logits[2:3], draws[2:3]).tolist() == whole[2:3]


def test_parameters_can_be_prepared_ahead():
    """Of tokens that are still being drawn, only the number is known."""
    draw = Draw(Sampling(top_k=3), 7, [1, 2, 3], 2)
    later = Draw(Sampling(top_k=3), 7, [1, 2, 3, 99, 98], 2)

    ahead = device.prepare([draw.ahead(2)])

    assert torch.equal(ahead.values, device.prepare([later]).values)
    assert not torch.equal(ahead.values, device.prepare([draw]).values)


def test_the_sampler_draws_where_the_logits_are(monkeypatch):
    """What it answers is what it answers on a CPU, failures and log-probabilities included."""
    logits = normal(8, 4, 130)
    logits[1, 5] = math.nan
    wishes = [Sampling(logprobs=2), Sampling(), Sampling(top_k=5, logit_bias={7: 9.0}), Sampling()]
    draws = draws_of(4, wishes)
    draws[3] = Draw(wishes[3], 3, [0], 1, barred_ids=range(130))
    expected = sampler.sample(logits, draws)
    monkeypatch.setattr(device, "takes", lambda _: True)
    monkeypatch.setattr(sampler.native, "takes", lambda _: False)
    monkeypatch.setattr(sampler, "choose", None)

    got = sampler.sample(logits, draws)

    assert got == expected
    assert [type(each) for each in got] == [Choice, Failure, Choice, Failure]


@pytest.mark.slow  # torch imports much for its "meta" device
def test_nothing_waits_for_what_is_adjusted(monkeypatch):
    """Logits whose values nobody can see are moved all the same."""
    monkeypatch.setattr(upload, "there", lambda host, there: host.to(there))
    monkeypatch.setattr("engine.sampling.adjust.there", upload.there)
    sampling = Sampling(
        logit_bias={3: 1.0}, repetition_penalty=1.2, presence_penalty=0.1, frequency_penalty=0.2
    )
    mask = torch.zeros(50, dtype=torch.bool)
    mask[7] = True
    draws = [Draw(sampling, 1, [4, 5, 5], 1, barred_ids={9}, mask=mask), Draw(GREEDY, 1, [0], 1)]

    assert adjust(torch.zeros(2, 50, device="meta"), draws).shape == (2, 50)
