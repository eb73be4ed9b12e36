from engine.api import TokenLogprob, TopLogprob
from gateway.translate.logprobs import LogprobsWriter


def token(token_id: int, raw: bytes, top: tuple[tuple[int, bytes], ...] = ()) -> TokenLogprob:
    tops = [
        TopLogprob(i, r.decode("utf-8", "replace"), r, -float(n)) for n, (i, r) in enumerate(top)
    ]
    return TokenLogprob(token_id, raw.decode("utf-8", "replace"), raw, -0.5, tops)


def test_no_alternative_is_lost_to_its_name():
    """Tokens of the same text are told apart, and the ids are in the order of the keys."""
    written = LogprobsWriter(4).write(
        [token(2, b"a", ((1, b"a"), (2, b"a"), (3, b"\xe2"), (4, b"\x80")))], "a"
    )

    assert written.top_logprobs == [
        {"a": 0.0, "token_id:2": -1.0, "bytes:\\xe2": -2.0, "bytes:\\x80": -3.0}
    ]
    assert written.top_token_ids == [[1, 2, 3, 4]]


def test_the_chosen_token_is_called_as_among_its_alternatives():
    """Evaluation harnesses look for it there by its name to see whether it was the best."""
    written = LogprobsWriter(2).write([token(2, b"a", ((1, b"a"), (2, b"a")))], "a")

    assert written.tokens == ["token_id:2"]


def test_offsets_count_characters_across_calls():
    """A character in two tokens begins where the first of them does."""
    writer = LogprobsWriter(1)
    first = writer.write([token(1, b"\xc3"), token(2, b"\xa9t")], "ét")
    second = writer.write([token(3, b"!")], "!")

    assert first.text_offset == [0, 0]
    assert second.text_offset == [2]


def test_tokens_that_are_not_in_the_text_take_no_place_in_it():
    """Special ones, the space that SentencePiece begins with, and what a stop string cut off."""
    tokens = [token(1, b"<s>"), token(2, b" Hi"), token(3, b" you"), token(4, b"STOP")]

    assert LogprobsWriter(1).write(tokens, "Hi you").text_offset == [0, 0, 2, 6]


def test_text_that_is_held_back_keeps_its_place():
    """A token may be known before its text is sent."""
    writer = LogprobsWriter(1)
    first = writer.write([token(1, b"a"), token(2, b"bc")], "a")
    second = writer.write([token(3, b"d")], "bcd")

    assert first.text_offset + second.text_offset == [0, 1, 3]


def test_no_alternatives_wanted_are_none_given():
    """`logprobs: 0` asks for the tokens' own only."""
    written = LogprobsWriter(0).write([token(1, b"a")], "a")

    assert written.top_logprobs is None
    assert written.token_logprobs == [-0.5]


def test_what_cannot_be_said_in_json_is_very_unlikely():
    """Minus infinity, of a token that was masked."""
    masked = TokenLogprob(1, "a", b"a", float("-inf"), [TopLogprob(1, "a", b"a", float("-inf"))])

    written = LogprobsWriter(1).write([masked], "a")

    assert written.token_logprobs == [-9999.0]
    assert written.top_logprobs == [{"a": -9999.0}]
