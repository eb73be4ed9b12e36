"""Constraints over a vocabulary of single bytes, where what is allowed can be read off."""

import json

import pytest

from engine.api import EngineError, Failure
from engine.sampling import masks
from engine.sampling.grammar import Constraint, build_trie, compile_grammar

END, OTHER_END, CONTROL = 256, 257, 258
TOKENS = [bytes([byte]) for byte in range(256)] + [b"", b"<end>", b"yes", b"ye"]
TRIE = build_trie(TOKENS, [OTHER_END, CONTROL], [END, OTHER_END])


def constraint(lark: str) -> Constraint:
    text = json.dumps({"grammars": [{"lark_grammar": '%llguidance {"no_forcing": true}\n' + lark}]})
    return Constraint(compile_grammar(TRIE, text), frozenset({END, OTHER_END}), TRIE)


def allowed(constraint: Constraint) -> set[int]:
    return {token for token, byte in enumerate(constraint.allowed()) if byte}


def test_a_complete_text_allows_ends_only():
    """Every token that spells a beginning may come; behind the last character only an end."""
    subject = constraint('start: "y" "e"?')

    assert allowed(subject) == {ord("y"), TOKENS.index(b"ye")}
    subject.consume(ord("y"))
    assert allowed(subject) == {ord("e"), END, OTHER_END}
    subject.consume(ord("e"))
    assert allowed(subject) == {END, OTHER_END}


def test_control_tokens_are_no_text():
    """A control token is not what its name spells."""
    assert TOKENS[CONTROL] == b"yes"

    subject = constraint('start: "yes"')

    assert allowed(subject) == {ord("y"), TOKENS.index(b"ye")}


def test_control_tokens_are_reached_by_number():
    """Where a format has one, its grammar names it by its id."""
    subject = constraint(f'start: "a" <[{CONTROL}]> "b"')
    subject.consume(ord("a"))

    assert allowed(subject) == {CONTROL}


def test_a_token_against_the_grammar_ends_it():
    """Whoever consumes what was not allowed hears of it at the next mask, not never."""
    subject = constraint('start: "a" "b"')
    subject.consume(ord("z"))

    with pytest.raises(EngineError) as caught:
        subject.allowed()
    assert caught.value.code == "bad_request"


def test_a_wrong_grammar_is_refused():
    """With the library's reason."""
    with pytest.raises(EngineError, match="unknown name"):
        compile_grammar(TRIE, json.dumps({"grammars": [{"lark_grammar": "start: nowhere"}]}))


def test_what_is_certain_is_spelled_with_the_longest_tokens():
    """None where there is a choice, be it to end; no more than was asked for."""
    subject = constraint('start: "say yes" "!"?')

    assert subject.forced(9) == (*b"say ", TOKENS.index(b"ye"), ord("s"))
    assert subject.forced(3) == tuple(b"say")
    for token in b"say yes":
        subject.consume(token)
    assert subject.forced(9) == ()


def test_asking_what_is_certain_changes_nothing():
    """Control tokens come where they would have come."""
    subject = constraint(f'start: "a" <[{CONTROL}]> "b"')

    for token_id in (ord("a"), CONTROL, ord("b"), END):
        subject.forced(9)
        assert token_id in allowed(subject)
        subject.consume(token_id)


@pytest.mark.parametrize("start", ['"a" <[258]> "b"', '"é" "b"'])
def test_half_characters_and_control_tokens_are_not_guessed(start):
    """A guess is of text: behind the middle of a character nothing is."""
    subject = constraint(f"start: {start}")
    subject.consume("aé".encode()[1] if "é" in start else ord("a"))

    assert subject.forced(9) == ()


def test_a_draft_is_tried_and_taken_back():
    """What may come behind each of its tokens, and where the text is stays as it was."""
    subject = constraint('start: "a" ("b" | "c")')
    before = allowed(subject)

    now, behind = subject.allowed_along([ord("a")])

    assert {token for token, byte in enumerate(now) if byte} == before == {ord("a")}
    assert {token for token, byte in enumerate(behind) if byte} == set(b"bc")
    assert allowed(subject) == before


def test_a_draft_is_followed_up_to_what_is_wrong():
    """Ends are not guessed, though one may come."""
    subject = constraint('start: "a"+')

    assert subject.followed([*b"aa", ord("b")]) == tuple(b"aa")
    assert subject.followed([ord("a"), END]) == (ord("a"),)
    assert subject.followed([ord("b")]) == ()
    assert allowed(subject) == {ord("a")}


@pytest.mark.parametrize("vocab_size", [200, len(TOKENS), 300])
def test_masks_are_as_wide_as_the_model(vocab_size):
    """What lies behind the tokens is never allowed, whatever the width of the logits."""
    subject = constraint('start: "a"')

    found = masks.begin({subject: ()}, vocab_size).result()[subject]

    assert not isinstance(found, Failure)
    (mask,) = found
    assert (~mask).nonzero().flatten().tolist() == [ord("a")]
    assert len(mask) == vocab_size


def test_one_that_cannot_go_on_fails_alone():
    """The masks of the others are there."""
    broken, sound = constraint('start: "a"'), constraint('start: "b"')
    broken.consume(ord("z"))

    found = masks.begin({broken: (), sound: ()}, len(TOKENS)).result()

    assert isinstance(found[broken], Failure)
    assert not isinstance(found[sound], Failure)
