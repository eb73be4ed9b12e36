"""What waits for its grammar, and what does not."""

import queue

import pytest

from engine.api import Failure, Sampling
from engine.core.work import Begin, End, Work
from engine.sampling.grammar import Constraint
from engine.wire import Constrain, Start, Vocabulary
from engine.worker.beginnings import Beginnings

VOCABULARY = Vocabulary("bytes", [bytes([byte]) for byte in range(256)] + [b""], [], [256])
GOOD = '{"grammars": [{"lark_grammar": "%llguidance {\\"no_forcing\\": true}\\nstart: /[ab]+/"}]}'


def start(number: int, grammar: str | None = None) -> Start:
    wanted = None if grammar is None else Constrain("bytes", grammar)
    return Start(number, 1, [1], 4, 0, [], Sampling(), grammar=wanted)


@pytest.fixture
def told() -> "queue.SimpleQueue[Work]":
    return queue.SimpleQueue()


@pytest.fixture
def beginnings(told) -> Beginnings:
    made = Beginnings(told.put)
    made.learn("text", VOCABULARY)
    return made


def begun(told: "queue.SimpleQueue[Work]") -> Begin:
    work = told.get(timeout=30)
    assert isinstance(work, Begin)
    return work


def test_others_do_not_wait(beginnings, told):
    """A sequence without a grammar begins at once; one with a grammar once it is compiled."""
    beginnings.begin("text", start(1))

    assert begun(told).constraint is None

    beginnings.begin("text", start(2, GOOD))
    assert isinstance(begun(told).constraint, Constraint)


def test_sequences_do_not_share_a_constraint(beginnings, told):
    """One grammar is compiled once, and each sequence is somewhere else in it."""
    beginnings.begin("text", start(1, GOOD))
    beginnings.begin("text", start(2, GOOD))
    one, other = begun(told).constraint, begun(told).constraint
    assert isinstance(one, Constraint)
    assert isinstance(other, Constraint)

    one.consume(ord("a"))

    assert one.allowed()[256]
    assert not other.allowed()[256]


@pytest.mark.parametrize(
    ("owner", "grammar", "code"),
    [("text", '{"grammars": []}', "bad_request"), ("another", GOOD, "internal")],
)
def test_what_cannot_be_compiled_fails_alone(beginnings, told, owner, grammar, code):
    """A wrong grammar, or one over tokens that nobody sent, ends its own sequence."""
    beginnings.begin(owner, start(1, grammar))
    failure = begun(told).constraint

    assert isinstance(failure, Failure)
    assert failure.code == code
    beginnings.begin("text", start(2, GOOD))
    assert isinstance(begun(told).constraint, Constraint)


def test_what_was_ended_never_begins(beginnings, told):
    """A client that leaves while a grammar is compiled leaves nothing behind."""
    beginnings.begin("text", start(1, GOOD))
    beginnings.begin("text", start(2, GOOD))
    beginnings.begin("text", start(3, GOOD))
    beginnings.end("text", [2])
    beginnings.begin("text", start(4, GOOD))

    order = []
    while not order or order[-1] != 4:
        work = told.get(timeout=30)
        order.append(-work.numbers[0] if isinstance(work, End) else work.start.sequence)

    assert 2 not in order[order.index(-2) :]
