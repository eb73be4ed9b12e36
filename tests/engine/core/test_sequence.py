"""How a sequence ends, and what it may not draw."""

from engine.core.sequence import Sequence


def test_length_is_reached_by_output_alone():
    """max_tokens counts what was generated, not the prompt."""
    sequence = Sequence([1, 2, 3], max_tokens=2)
    sequence.append(4)
    assert sequence.finish_reason is None
    sequence.append(5)

    assert sequence.finish_reason == "length"
    assert (sequence.num_prompt, sequence.num_output) == (3, 2)


def test_a_stop_token_at_the_limit_is_a_stop():
    """A model that ended by itself was not cut."""
    sequence = Sequence([1], max_tokens=1, stop_ids=frozenset({9}))
    sequence.append(9)

    assert sequence.finish_reason == "stop"


def test_stop_ids_are_barred_until_min_tokens():
    """min_tokens counts output tokens; from there on the model may end."""
    sequence = Sequence([1], max_tokens=9, min_tokens=1, stop_ids=frozenset({9}))
    assert sequence.barred_ids() == {9}
    sequence.append(4)

    assert not sequence.barred_ids()
