"""Which steps are replayed, and which graphs are kept."""

import random

import pytest

from engine.kernels.replay.graphs import ROWS, GraphPolicy, Key, Shape, shape_for

ONE, TWO = Key("a", Shape(1, 64)), Key("a", Shape(2, 64))


def used(policy: GraphPolicy, key: Key, times: int) -> list[str]:
    """What each use comes to; a capture takes 10 bytes."""
    ways = []
    for _ in range(times):
        ways.append(policy.use(key))
        if ways[-1] == "capture":
            policy.captured(key, 10)
    return ways


@pytest.mark.parametrize("num_rows", range(1, 65))
def test_a_batch_goes_into_the_next_larger_shape(num_rows):
    rows = shape_for(num_rows, 100, 16).rows

    assert rows in ROWS
    assert rows >= num_rows
    assert all(smaller < num_rows for smaller in ROWS if smaller < rows)


def test_more_rows_than_any_shape_has_are_run_as_they_are():
    assert shape_for(65, 100, 16) is None


def test_contexts_double_from_shape_to_shape():
    """Few shapes for all lengths, and room for each in its own."""
    shapes = {length: shape_for(1, length, 16).num_blocks for length in (1, 1024, 1025, 2048, 2049)}

    assert shapes == {1: 64, 1024: 64, 1025: 128, 2048: 128, 2049: 256}


def test_the_third_use_captures():
    """Once: from then on it is replayed."""
    assert used(GraphPolicy(), ONE, 5) == ["run", "run", "capture", "replay", "replay"]


def test_what_could_not_be_captured_is_not_tried_again():
    policy = GraphPolicy()
    used(policy, ONE, 2)
    assert policy.use(ONE) == "capture"
    policy.failed(ONE)

    assert policy.use(ONE) == "run"
    assert policy.wanted("a") is None


def test_the_longest_unused_makes_room():
    """And is captured again once it has come up as often again."""
    policy = GraphPolicy(max_bytes=20)
    used(policy, ONE, 3)
    used(policy, TWO, 3)
    policy.use(ONE)
    three = Key("b", Shape(4, 64))
    used(policy, three, 2)
    assert policy.use(three) == "capture"

    assert policy.captured(three, 10) == [TWO]
    assert used(policy, TWO, 2) == ["run", "run"]


def test_one_too_large_for_all_of_the_room_is_not_tried_again():
    policy = GraphPolicy(max_bytes=20)
    used(policy, ONE, 2)
    policy.use(ONE)

    assert policy.captured(ONE, 30) == [ONE]
    assert used(policy, ONE, 4) == ["run"] * 4


def test_idle_moments_capture_the_largest_first():
    """Of what has come up, of that model."""
    policy = GraphPolicy()
    for key in (ONE, TWO, Key("b", Shape(64, 64))):
        policy.use(key)

    assert policy.wanted("a") == TWO.shape
    policy.captured(TWO, 10)
    assert policy.wanted("a") == ONE.shape
    policy.captured(ONE, 10)
    assert policy.wanted("a") is None
    assert policy.use(ONE) == "replay"


def test_a_model_that_moved_has_no_graphs():
    """Others keep theirs."""
    policy = GraphPolicy()
    other = Key("b", Shape(1, 64))
    for key in (ONE, TWO, other):
        used(policy, key, 3)

    assert policy.forget("a") == [ONE, TWO]
    assert policy.use(ONE) == "run"
    assert policy.use(other) == "replay"


@pytest.mark.parametrize("seed", range(10))
def test_bytes_never_exceed_the_budget(seed):
    """Whatever is used, captured and forgotten; and what is replayed is there."""
    rng, policy, there = random.Random(seed), GraphPolicy(max_bytes=100), set[Key]()
    for _ in range(300):
        key = Key(rng.choice("ab"), Shape(rng.choice(ROWS), 64))
        way = policy.use(key)
        assert (way == "replay") == (key in there)
        if way == "capture":
            there.add(key)
            there -= {*policy.captured(key, rng.randint(1, 60))}
        if rng.random() < 0.02:
            there -= {*policy.forget("a")}
            assert not any(key.owner == "a" for key in there)
        assert policy.num_bytes <= 100
