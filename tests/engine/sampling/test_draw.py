"""The random numbers behind a draw."""

import statistics

from engine.api import Sampling
from engine.sampling.draw import Draw, seed_of


def uniform(seed: int, step: int) -> float:
    return Draw(Sampling(), seed, [0] * (3 + step), num_prompt=3).uniform


def test_a_number_depends_on_seed_and_step_alone():
    """The same step of the same seed always draws the same number; others differ."""
    numbers = {uniform(seed, step) for seed in range(20) for step in range(20)}

    assert uniform(7, 2) == uniform(7, 2)
    assert len(numbers) == 400


def test_numbers_are_uniform():
    """Within [0, 1), with the mean and spread of a uniform distribution."""
    numbers = [uniform(1, step) for step in range(4000)]

    assert 0 <= min(numbers) < max(numbers) < 1
    assert abs(statistics.mean(numbers) - 0.5) < 0.02
    assert abs(statistics.pstdev(numbers) - 12**-0.5) < 0.01


def test_any_integer_is_a_seed():
    """Negative seeds and those beyond 64 bits work too."""
    assert 0 <= uniform(-1, 0) < 1
    assert 0 <= uniform(2**80, 0) < 1


def test_unseeded_sequences_differ():
    """Without a seed each sequence gets a stream of its own."""
    assert seed_of(Sampling(seed=5)) == 5
    assert seed_of(Sampling()) != seed_of(Sampling())


def test_settings_fit_what_reads_them():
    """A count or a temperature that no kernel's number holds is as good as the greatest that it does."""
    asked = Draw(Sampling(top_k=2**32 + 5, temperature=1e300, top_p=0.5, min_p=0.1), 1, [0], 1)
    greedy = Draw(Sampling(temperature=1e-9, top_k=5, top_p=0.5), 1, [0], 1)

    assert asked.settings == (asked.uniform, 3e38, 0.5, 0.1, 2**31 - 1)
    assert asked.settings.has_filters
    assert greedy.settings == (0, 0, 1, 0, 0)
    assert not greedy.settings.has_filters
    assert Draw(Sampling(top_k=-1), 1, [0], 1).settings.top_k == 0
