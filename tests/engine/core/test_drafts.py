import itertools
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.drafts import LONGEST_PAUSE_STEPS, PAUSE_STEPS, START_TOKENS, Drafter

TEXT = [1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3]


def test_what_followed_before_is_guessed_again():
    """The tokens behind the last occurrence of what was just said."""
    assert Drafter(8).draft(TEXT, 8) == (4, 5, 6, 7)[:START_TOKENS]


def test_nothing_is_guessed_where_nothing_recurs():
    """A draft of random tokens would only cost time."""
    assert Drafter(8).draft([1, 2, 3, 4, 5], 8) == ()


def test_the_newest_of_several_continuations_counts():
    """Later text says more about what comes next."""
    assert Drafter(8).draft([1, 2, 7, 1, 2, 8, 1, 2], 1) == (8,)


def test_a_circle_is_expected_to_go_on():
    """A draft may be longer than what it repeats."""
    drafter = Drafter(16)
    drafter.judged(3, 3)
    drafter.judged(6, 6)

    assert drafter.draft([8, 9, 1, 2, 1, 2], 7) == (1, 2, 1, 2, 1, 2, 1)


def test_a_longer_match_is_trusted_before_a_shorter_one():
    """More context misleads less."""
    tokens = [5, 6, 1, 2, 7, 9, 9, 1, 2, 8, 5, 6, 1, 2]

    assert Drafter(8).draft(tokens, 1) == (7,)


def test_success_makes_drafts_longer_and_failure_shorter():
    """Rows are spent where they pay."""
    drafter = Drafter(16)
    tokens = list(range(40)) + list(range(20))
    first = drafter.draft(tokens, 64)
    drafter.judged(len(first), len(first))
    second = drafter.draft(tokens, 64)
    drafter.judged(len(second), 1)

    assert len(second) == 2 * len(first)
    assert len(drafter.draft(tokens, 64)) == 1


def test_a_sequence_that_never_repeats_itself_is_left_alone_for_a_while():
    """After a wrong guess of a single token it rests, and then tries again."""
    drafter = Drafter(8)
    for _ in range(2):
        drafter.judged(len(drafter.draft(TEXT, 8)), 0)

    assert [len(drafter.draft(TEXT, 8)) for _ in range(PAUSE_STEPS + 1)][-2:] == [0, 1]


def test_each_failure_after_a_rest_makes_the_next_longer():
    """Text without repetitions costs ever fewer guesses; one that comes true ends that."""
    drafter, tried = Drafter(8), []
    for step in range(200):
        draft = drafter.draft(TEXT, 8)
        tried += [step] if draft else []
        drafter.judged(len(draft), 0)
    rests = [later - earlier - 1 for earlier, later in itertools.pairwise(tried)]

    assert rests[:4] == [0, PAUSE_STEPS, 2 * PAUSE_STEPS, 4 * PAUSE_STEPS]
    assert max(rests) <= LONGEST_PAUSE_STEPS
    for num_drafted, num_accepted in ((1, 1), (2, 0), (1, 0)):
        drafter.judged(num_drafted, num_accepted)
    assert [len(drafter.draft(TEXT, 8)) for _ in range(PAUSE_STEPS + 1)][-1]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.integers(0, 8), st.integers(1, 8))
@settings(max_examples=60, deadline=None)
def test_a_draft_is_a_copy_of_what_once_followed_these_tokens(tokens, limit, most):
    """Fed token by token or at once, it never guesses more than it may, nor from nowhere."""
    drafter = Drafter(most)
    for end in range(1, len(tokens)):
        drafter.draft(tokens[:end], 0)
    draft = drafter.draft(tokens, limit)

    assert draft == Drafter(most).draft(tokens, limit)
    assert len(draft) <= min(limit, most)
    if draft:
        ahead = (*tokens, *draft)
        assert any(ahead[at : at + len(draft)] == draft for at in range(len(tokens)))


def test_indexing_costs_the_same_for_each_token():
    """A step looks at what is new only, however long the sequence is."""

    class Counted(list):
        reads = 0

        def __getitem__(self, key: object) -> object:
            Counted.reads += 1
            return super().__getitem__(key)

    tokens = Counted(random.Random(0).choices(range(1000), k=5000))
    drafter = Drafter(8)
    drafter.draft(tokens, 8)
    Counted.reads = 0
    tokens.append(7)
    drafter.draft(tokens, 8)

    assert Counted.reads < 20
