import pytest
from structlog.testing import capture_logs

from engine.api import Delta, Failure, Generation, Run, Sampling, Usage
from engine.text.generations import Generations
from engine.text.prompts import PreparedPrompt
from engine.wire import Output


@pytest.fixture
def prompt(byte_level) -> PreparedPrompt:
    return PreparedPrompt(byte_level, byte_level.encode("hi", add_bos=True, allow_special=True))


@pytest.fixture
def generations() -> Generations:
    return Generations()


def run(index=0, **generation: object) -> Run:
    return Run(index, ticket=1, generation=Generation(10, **generation))


def output(sequence, ids, finish=None, **facts: object):
    return Output(sequence, list(ids), [], [], finish, **facts)


def test_a_start_tells_the_worker_everything(generations, prompt):
    """The prompt's ids, the limits, and the model's stop ids beside the request's."""
    sampling = Sampling(temperature=0.5)

    start = generations.start(
        7, 42, run(sampling=sampling, stop_token_ids=(5,), min_tokens=2), prompt
    )

    assert (start.handle, start.token_ids, start.sampling) == (42, prompt.token_ids, sampling)
    assert (start.max_tokens, start.min_tokens) == (10, 2)
    assert set(start.stop_token_ids) == {5, *prompt.tokenizer.stop_ids}


def test_the_models_own_ends_can_be_ignored(generations, prompt):
    """`ignore_eos` leaves the request's stop ids alone."""
    start = generations.start(7, 42, run(ignore_eos=True, stop_token_ids=(5,)), prompt)

    assert start.stop_token_ids == [5]


def test_an_embedded_prompt_has_one_delta(generations, prompt):
    """Its vector and its length; the worker is told of the model's task and of a pair's seam."""
    pair = PreparedPrompt(prompt.tokenizer, prompt.token_ids, first_length=1)
    start = generations.embed(3, 42, 5, pair)
    read = generations.step([output(start.sequence, [])])
    (made,), stops = generations.step([output(start.sequence, [], "length", vector=b"\1\2")])

    assert (start.wants_vector, start.first_length, start.max_tokens) == (True, 1, 1)
    assert read == ([], [])
    usage = Usage(len(prompt.token_ids), 0)
    assert made == (3, Delta(5, vector=b"\1\2", finish_reason="stop", usage=usage))
    assert (stops, generations.cancel(3)) == ([], [])


def test_an_embedding_that_fails_says_so(generations, prompt):
    """And is forgotten."""
    start = generations.embed(3, 42, 0, prompt)
    failure = Failure("bad_request", "too long")
    (made,), _ = generations.step([output(start.sequence, [], failure=failure)])

    assert made == (3, Delta(0, failure=failure))
    assert generations.cancel(3) == []


def test_one_step_serves_many_streams(generations, prompt):
    """Each output goes to its own stream and choice; ids are never shared."""
    first = generations.start(1, 0, run(0), prompt).sequence
    second = generations.start(1, 0, run(1), prompt).sequence
    third = generations.start(2, 0, run(0), prompt).sequence

    deltas, stops = generations.step(
        [output(third, [65]), output(first, [66]), output(second, [67])]
    )

    assert len({first, second, third}) == 3
    assert [(stream, delta.index) for stream, delta in deltas] == [(2, 0), (1, 0), (1, 1)]
    assert stops == []


def test_a_sequence_ended_by_a_stop_string_is_stopped(generations, prompt):
    """The worker is told, and what it still sends is dropped."""
    (char,) = prompt.tokenizer.encode(".", add_bos=False, allow_special=False)
    sequence = generations.start(1, 0, run(stop=(".",)), prompt).sequence

    deltas, stops = generations.step([output(sequence, [char])])

    assert [delta.finish_reason for _, delta in deltas] == ["stop"]
    assert stops == [sequence]
    assert generations.step([output(sequence, [char], "length")]) == ([], [])


def test_a_cancelled_stream_is_forgotten(generations, prompt):
    """All of its sequences, and no others."""
    mine = [generations.start(1, 0, run(i), prompt).sequence for i in range(2)]
    other = generations.start(2, 0, run(), prompt).sequence

    assert generations.cancel(1) == mine
    assert generations.cancel(1) == []

    deltas, _ = generations.step([output(i, [65]) for i in (*mine, other)])
    assert [stream for stream, _ in deltas] == [2]


def test_a_lost_worker_fails_everything_once(generations, prompt):
    """Every running choice ends with the failure; finished ones do not."""
    failure = Failure("worker_lost", "gone")
    done = generations.start(1, 0, run(0), prompt).sequence
    generations.start(1, 0, run(1), prompt)
    generations.step([output(done, [65], "length")])

    deltas = generations.fail_all(failure)

    assert [(stream, delta.index, delta.failure) for stream, delta in deltas] == [(1, 1, failure)]
    assert generations.fail_all(failure) == []


def test_a_bug_in_one_text_ends_that_one_alone(generations, prompt):
    """An output that makes no sense fails its sequence, is logged, and stops it."""
    bad = generations.start(1, 0, run(), prompt).sequence
    good = generations.start(2, 0, run(), prompt).sequence
    nonsense = Output(bad, ["x"], [], [], None)  # type: ignore[list-item]

    with capture_logs() as logs:
        deltas, stops = generations.step([nonsense, output(good, [65])])

    assert [delta.failure.code if delta.failure else None for _, delta in deltas] == [
        "internal",
        None,
    ]
    assert stops == [bad]
    assert [line["event"] for line in logs] == ["sequence_text_failed"]
