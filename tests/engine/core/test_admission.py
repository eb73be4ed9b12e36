"""Requests that could do harm are refused before they are sequences."""

import msgspec
import pytest

from engine.api import EngineError, Sampling
from engine.core.admission import sequence_of
from engine.wire import Start

START = Start(5, 1, [1, 2, 3], 4, 1, [3, 99], Sampling(seed=7))


@pytest.mark.parametrize(
    "fields",
    [
        {"token_ids": []},
        {"token_ids": [1, 10]},
        {"token_ids": [-1]},
        {"max_tokens": -1},
        {"sampling": Sampling(logit_bias={10: 1.0})},
        {"sampling": Sampling(temperature=float("nan"))},
    ],
    ids=str,
)
def test_what_the_model_cannot_honour_is_a_bad_request(fields):
    """Token ids outside the vocabulary and impossible values never reach a tensor."""
    with pytest.raises(EngineError) as error:
        sequence_of(msgspec.structs.replace(START, **fields), "owner", vocab_size=10)

    assert error.value.code == "bad_request"


def test_a_request_becomes_a_sequence():
    """All of it is taken over; stop ids that the model cannot make are dropped."""
    sequence = sequence_of(START, "owner", vocab_size=10)

    assert sequence.token_ids == [1, 2, 3]
    assert sequence.stop_ids == {3}
    assert (sequence.max_tokens, sequence.min_tokens, sequence.seed) == (4, 1, 7)
    assert (sequence.owner, sequence.number) == ("owner", 5)


def test_barred_tokens_are_barred_to_the_end():
    """Beside the stop tokens while too few tokens are out, and alone after that."""
    start = msgspec.structs.replace(START, barred_token_ids=[7, 99])
    sequence = sequence_of(start, "owner", vocab_size=10)
    assert sequence.barred_ids() == {3, 7}
    sequence.append(5)

    assert sequence.barred_ids() == {7}
