import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.api import Failure, Generation, Run, Sampling, Usage
from engine.text.prompts import PreparedPrompt
from engine.text.writer import Writer
from engine.wire import Logprob, Output


@pytest.fixture
def tokenizer(byte_level):
    return byte_level


@pytest.fixture
def encode(tokenizer):
    def encode(text: str) -> list[int]:
        return tokenizer.encode(text, add_bos=False, allow_special=True)

    return encode


@pytest.fixture
def writer(tokenizer, encode):
    """A writer for a prompt "say: " and a generation."""

    def make(**generation: object) -> Writer:
        prompt = PreparedPrompt(tokenizer, encode("say: "), "say: ")
        return Writer(prompt, Run(3, 0, Generation(100, **generation)))

    return make


def output(ids, finish=None, logprobs=(), prompt_logprobs=(), **facts: object):
    return Output(1, list(ids), list(logprobs), list(prompt_logprobs), finish, **facts)


def logprobs(ids):
    return [Logprob(-float(i), [(i, -float(i)), (i + 1, -9.0)]) for i in ids]


def write_all(writer, ids, *, finish="length", step=1, with_logprobs=False):
    """Feeds tokens a few at a time; returns the deltas and whether a stop string was found."""
    deltas = []
    for start in range(0, max(len(ids), 1), step):
        part = ids[start : start + step]
        is_last = start + step >= len(ids)
        given_logprobs = logprobs(part) if with_logprobs else []
        delta, is_stopped = writer.write(output(part, finish if is_last else None, given_logprobs))
        deltas += [delta] if delta is not None else []
        if is_stopped or is_last:
            return deltas, is_stopped
    raise AssertionError


def text_of(deltas):
    return "".join(delta.text for delta in deltas)


def test_tokens_become_text_and_usage(writer, encode):
    """The last delta has the reason and the count of tokens; the choice keeps its index."""
    ids = encode("hello 🦙!")

    deltas, is_stopped = write_all(writer(), ids)

    assert (text_of(deltas), is_stopped) == ("hello 🦙!", False)
    assert [i for delta in deltas for i in delta.token_ids] == ids
    assert {delta.index for delta in deltas} == {3}
    assert deltas[-1].finish_reason == "length"
    assert deltas[-1].usage == Usage(len(encode("say: ")), len(ids), 0)
    assert all(delta.usage is None for delta in deltas[:-1])


def test_the_stop_token_counts_and_is_not_shown(writer, encode, tokenizer):
    """Neither its text, nor its id, nor its logprob."""
    ids = [*encode("hi"), min(tokenizer.stop_ids)]

    deltas, _ = write_all(writer(), ids, finish="stop", with_logprobs=True)

    assert text_of(deltas) == "hi"
    assert deltas[-1].finish_reason == "stop"
    assert deltas[-1].usage.completion_tokens == len(ids)
    assert [entry.token_id for delta in deltas for entry in delta.logprobs] == ids[:-1]


def test_tokens_wait_for_their_text(writer, encode):
    """Inside a character, logprobs and ids are held back with it."""
    ids = encode("🦙")
    half = writer()

    deltas = [half.write(output([i], None, logprobs([i])))[0] for i in ids]

    assert deltas[:-1] == [None] * (len(ids) - 1)
    assert (deltas[-1].text, deltas[-1].token_ids) == ("🦙", ids)
    assert [entry.token_id for entry in deltas[-1].logprobs] == ids
    assert [entry.text for entry in deltas[-1].logprobs] == ["\ufffd"] * len(ids)
    assert b"".join(entry.raw for entry in deltas[-1].logprobs) == "🦙".encode()


def test_a_stop_string_ends_the_text(writer, encode):
    """What comes before it is sent, tokens wholly after are not, and the worker is to stop."""
    ids = encode("one STOP two")

    deltas, is_stopped = write_all(writer(stop=("STOP",)), ids, with_logprobs=True)

    assert (text_of(deltas), is_stopped) == ("one ", True)
    assert (deltas[-1].finish_reason, deltas[-1].stop_string) == ("stop", "STOP")
    sent = [i for delta in deltas for i in delta.token_ids]
    assert sent == ids[: len(sent)]
    assert len(sent) < deltas[-1].usage.completion_tokens < len(ids)
    assert [entry.token_id for delta in deltas for entry in delta.logprobs] == sent


def test_a_stop_string_that_does_not_come_is_sent_at_the_end(writer, encode):
    """Held-back text is the text's all the same."""
    deltas, is_stopped = write_all(writer(stop=("STOP",)), encode("one STO"))

    assert (text_of(deltas), is_stopped) == ("one STO", False)
    assert deltas[-1].stop_string is None


def test_stop_strings_do_not_count_before_the_minimum(writer, encode):
    """Like stop tokens, they wait for `min_tokens`."""
    ids = encode("a.a.a.a.")

    deltas, is_stopped = write_all(writer(stop=(".",), min_tokens=3), ids)

    assert (text_of(deltas), is_stopped) == ("a.a", True)


def test_an_echo_comes_first_with_all_prompt_logprobs(writer, encode):
    """Prompt logprobs may come over several steps; the echo waits for the last of them."""
    prompt = encode("say: ")
    echo = writer(echo=True, sampling=Sampling(logprobs=1, prompt_logprobs=True))
    scored = [Logprob(None, []), *logprobs(prompt[1:])]
    ids = encode("hi")

    first, _ = echo.write(output([], prompt_logprobs=scored[:2]))
    second, _ = echo.write(output([], prompt_logprobs=scored[2:], cached_tokens=4))
    third, _ = echo.write(output(ids, "length", logprobs(ids)))

    assert first is None
    assert (second.text, second.token_ids) == ("say: ", [])
    assert [entry.token_id for entry in second.logprobs] == prompt
    assert second.logprobs[0].logprob is None
    assert (third.text, third.usage.cached_tokens) == ("hi", 4)


def test_scoring_alone_gives_the_prompt_and_an_end(writer, encode):
    """`max_tokens` 0 with an echo: one delta, no tokens."""
    prompt = encode("say: ")
    echo = writer(echo=True, sampling=Sampling(logprobs=0, prompt_logprobs=True))

    delta, _ = echo.write(output([], "length", prompt_logprobs=[Logprob(None, [])] * len(prompt)))

    assert (delta.text, delta.finish_reason) == ("say: ", "length")
    assert delta.usage == Usage(len(prompt), 0)


def test_an_echo_of_ids_is_their_text(tokenizer, encode):
    """A prompt given as ids is shown without its control tokens."""
    prompt = PreparedPrompt(tokenizer, [tokenizer.bos_id, *encode("hello")])
    writer = Writer(prompt, Run(0, 0, Generation(1, echo=True)))

    delta, _ = writer.write(output(encode("!"), "length"))

    assert delta.text == "hello!"


def test_a_failure_is_passed_on(writer):
    """And nothing else is said."""
    failure = Failure("stale_handle", "evicted")

    delta, is_stopped = writer(echo=True).write(output([], failure=failure))

    assert (delta.failure, delta.text, is_stopped) == (failure, "", False)


def test_logprobs_name_the_alternatives(writer, encode, tokenizer):
    """Each with its own text and bytes, in the worker's order."""
    (token,) = encode("a")

    delta, _ = writer().write(
        output([token], "length", [Logprob(-0.5, [(7, -0.1), (token, -0.5)])])
    )

    (entry,) = delta.logprobs
    assert (entry.text, entry.raw, entry.logprob) == ("a", b"a", -0.5)
    assert [(top.token_id, top.raw) for top in entry.top] == [
        (7, tokenizer.token_bytes(7)),
        (token, b"a"),
    ]


def test_steps_do_not_change_what_is_said(writer, encode, tokenizer):
    """However tokens are spread over steps, text, ids and reason are the same."""

    @given(
        st.lists(st.integers(0, tokenizer.vocab_size - 1), max_size=30),
        st.integers(1, 7),
        st.lists(st.text("abe ", min_size=1, max_size=3), max_size=2),
    )
    def check(ids: list[int], step: int, stops: list[str]) -> None:
        one = write_all(writer(stop=tuple(stops)), ids, step=1)
        many = write_all(writer(stop=tuple(stops)), ids, step=step)
        for deltas, _ in (one, many):
            for delta in deltas:
                assert not any(stop in delta.text for stop in stops)
        assert text_of(one[0]) == text_of(many[0])
        assert [i for d in one[0] for i in d.token_ids] == [i for d in many[0] for i in d.token_ids]
        assert one[0][-1].finish_reason == many[0][-1].finish_reason
        assert one[0][-1].usage == many[0][-1].usage

    check()
