"""The native draw against the definition in torch."""

import pytest
import torch

from engine.api import Sampling
from engine.kernels.cpu.library import is_available, library, limit_isa
from engine.sampling import native
from engine.sampling.choose import choose
from engine.sampling.draw import Draw
from tests.engine.tiled_weights import ISAS

pytestmark = pytest.mark.skipif(not is_available(), reason="the native library is not built")

VOCAB = 3000


class At(Draw):
    """A draw whose uniform number is given."""

    @property
    def uniform(self) -> float:
        return self.seed / 2**32


def kept(logits: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """What each token weighs after all filters, by sorting everything: (vocab,), sum 1."""
    falling, ids = (
        (logits.double() / sampling.temperature).softmax(0).sort(descending=True, stable=True)
    )
    if sampling.top_k > 0:
        falling[sampling.top_k :] = 0
    if sampling.top_p < 1:
        before = falling.cumsum(0) - falling
        falling[1:][before[1:] >= sampling.top_p * falling.sum()] = 0
    falling[falling < sampling.min_p * falling[0]] = 0
    return torch.zeros(len(logits)).scatter(0, ids, (falling / falling.sum()).float())


@pytest.fixture(params=ISAS)
def isa(request):
    """Each code path that this CPU has."""
    limit_isa(library(), request.param)
    yield request.param
    limit_isa(library(), "avx512")


WISHES = [
    Sampling(),
    Sampling(temperature=0.3),
    Sampling(temperature=50.0),
    Sampling(top_k=1),
    Sampling(top_k=40),
    Sampling(top_p=0.9),
    Sampling(top_p=0.999),
    Sampling(top_p=0.0),
    Sampling(min_p=0.05),
    Sampling(top_k=50, top_p=0.8, min_p=0.02, temperature=0.7),
]


@pytest.mark.parametrize("spread", [1.0, 8.0])
@pytest.mark.parametrize("sampling", WISHES, ids=str)
def test_tokens_come_as_often_as_the_definition_says(sampling, spread, isa):
    """Evenly spaced uniform numbers give every token its share, and filtered ones never."""
    logits = torch.randn(VOCAB, generator=torch.Generator().manual_seed(5)) * spread
    expected = kept(logits, sampling)
    count = 2000
    draws = [At(sampling, step * 2**32 // count, [0], 1) for step in range(count)]

    chosen = native.choose(logits.repeat(count, 1), draws, check=True)

    share = torch.bincount(torch.tensor(chosen), minlength=VOCAB) / count
    assert not share[expected == 0].any()
    assert (share - expected).abs().max() <= 1.5 / count


@pytest.mark.parametrize("spread", [1.0, 8.0])
def test_tokens_are_those_of_the_definition_in_torch(spread, isa):
    """The same number picks the same token, whichever code draws."""
    logits = torch.randn(400, 500, generator=torch.Generator().manual_seed(6)) * spread
    draws = [At(WISHES[row % len(WISHES)], row * 10_000_019, [0], 1) for row in range(400)]

    assert native.choose(logits, draws, check=True) == choose(logits, draws)


def test_equal_weights_are_kept_in_order(isa):
    """Of tokens that weigh the same, the first are the k best."""
    logits = torch.zeros(100)
    draws = [At(Sampling(top_k=7), step * 2**32 // 70, [0], 1) for step in range(70)]

    assert set(native.choose(logits.repeat(70, 1), draws, check=True)) == set(range(7))


@pytest.mark.parametrize("width", [1, 15, 16, 17, 4097])
def test_the_best_is_taken_at_temperature_zero(width, isa):
    """The first of the best, for widths that fill no vector."""
    logits = torch.randn(3, width).round(decimals=1)
    draws = [Draw(Sampling(temperature=0.0), 1, [0], 1)] * 3

    assert native.choose(logits, draws, check=True) == logits.argmax(-1).tolist()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("place", [0, 20, 32])
def test_what_is_no_finite_number_is_noticed(value, place, isa):
    """A broken row fails alone, wherever it is broken."""
    logits = torch.zeros(2, 33)
    logits[1, place] = value
    draws = [Draw(Sampling(temperature=0.0), 1, [0], 1)] * 2

    assert native.choose(logits, draws, check=True) == [0, native.UNSOUND]
    assert native.is_sound(logits) == [True, False]


def test_barred_tokens_are_never_drawn(isa):
    """-inf bars a token; where all are barred there is no choice."""
    logits = torch.full((2, 40), -torch.inf)
    logits[0, 17] = -3.0
    draws = [Draw(Sampling(), 1, [0], 1)] * 2

    assert native.choose(logits, draws, check=False) == [17, native.NO_CHOICE]
