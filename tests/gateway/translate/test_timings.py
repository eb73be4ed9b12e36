from engine.api import Delta, Usage
from gateway.translate.timings import Stopwatch


def test_the_prompt_ends_where_the_first_delta_comes():
    """What was cached was not read; tokens of a step that brought several count each."""
    clock = iter([0.0, 2.0, 3.0])
    stopwatch = Stopwatch(lambda: next(clock))
    stopwatch.note(Delta(0, token_ids=[1]))
    stopwatch.note(Delta(0, token_ids=[2, 3, 4]))

    timings = stopwatch.read(10, {0: Usage(10, 4, cached_tokens=6)})

    assert (timings.cache_n, timings.prompt_n, timings.predicted_n) == (6, 4, 4)
    assert (timings.prompt_ms, timings.prompt_per_second) == (2000, 2)
    assert (timings.predicted_ms, timings.predicted_per_token_ms) == (1000, 250)


def test_nothing_takes_no_time():
    """And divides nothing."""
    timings = Stopwatch(lambda: 0.0).read(0, {})

    assert (timings.prompt_per_second, timings.predicted_per_second) == (0, 0)
