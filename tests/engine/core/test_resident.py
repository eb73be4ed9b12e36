"""One model's sequences, step by step: what comes out, and what a failure may take with it."""

import pytest

from engine.api import Sampling
from engine.cache.manager import NO_PREFIX
from engine.cache.table import BlockTable
from engine.core.sequence import Sequence
from engine.models.card import MAX_STATES
from engine.models.limits import DEVICE, HOST
from engine.wire import Output

GREEDY = Sampling(temperature=0)
SCORED = Sampling(temperature=0, prompt_logprobs=True, logprobs=1)


def run(resident, *sequences: Sequence) -> dict[Sequence, list[Output]]:
    """Steps until nothing is left."""
    outputs: dict[Sequence, list[Output]] = {sequence: [] for sequence in sequences}
    for sequence in sequences:
        resident.scheduler.add(sequence)
    while not resident.is_idle:
        for sequence, output in resident.step(1.0):
            outputs[sequence].append(output)
    resident.scheduler.check()
    return outputs


def tokens(outputs: list[Output]) -> list[int]:
    return [token_id for output in outputs for token_id in output.token_ids]


def test_workspace_is_counted_for_all_that_may_run():
    """And there is always room for a prompt's scores beside all that sample."""
    assert HOST.sequences <= MAX_STATES
    assert HOST.sequences < HOST.logit_rows
    assert DEVICE.sequences < DEVICE.logit_rows


def test_a_sequence_comes_out_a_token_a_step(resident):
    """Each step adds one token; the last says why it is the last."""
    sequence = Sequence([3, 4], 3, GREEDY, number=11)
    outputs = run(resident, sequence)[sequence]

    assert [output.token_ids for output in outputs] == [[5], [6], [7]]
    assert [output.finish_reason for output in outputs] == [None, None, "length"]
    assert {output.sequence for output in outputs} == {11}


def test_chunks_that_say_nothing_are_not_sent(resident):
    """Reading a long prompt is silent until its first token."""
    sequence = Sequence([2] * 100, 1, GREEDY)
    resident.scheduler.add(sequence)

    assert resident.step(1e-9) == []
    assert sequence.num_computed == 16


def test_a_scored_prompt_gives_one_entry_per_token(resident):
    """The first has no log-probability; the others are those of what came before."""
    sequence = Sequence([3, 4, 9], 0, SCORED)
    (output,) = run(resident, sequence)[sequence]

    assert output.token_ids == []
    assert output.finish_reason == "length"
    assert [scored.logprob for scored in output.prompt_logprobs] == [
        None,
        pytest.approx(0, abs=1e-6),
        pytest.approx(-20),
    ]
    assert [token for token, _ in output.prompt_logprobs[2].top] == [5]


def test_scores_of_a_long_prompt_come_in_order(resident):
    """Chunks of scores add up to the prompt, the first token's once."""
    sequence = Sequence([token % 30 for token in range(90)], 1, SCORED)
    outputs = run(resident, sequence)[sequence]
    scores = [scored.logprob for output in outputs for scored in output.prompt_logprobs]

    assert len(outputs) > 2
    assert len(scores) == 90
    assert scores[0] is None
    assert None not in scores[1:]


def test_min_tokens_bars_the_stop_until_it_is_reached(resident):
    """The model wants to stop at once, and may only once it has said something else."""
    sequence = Sequence([4], 9, GREEDY, stop_ids=frozenset({5}), min_tokens=1)
    outputs = run(resident, sequence)[sequence]

    assert tokens(outputs) == [0, 1, 2, 3, 4, 5]
    assert outputs[-1].finish_reason == "stop"


def test_logits_that_are_no_numbers_end_one_sequence(resident, counting):
    """The neighbours in the batch do not notice."""
    counting.poison = 20
    good, bad = Sequence([1], 3, GREEDY), Sequence([19, 20], 3, GREEDY)
    outputs = run(resident, good, bad)

    assert tokens(outputs[good]) == [2, 3, 4]
    assert [output.failure.code for output in outputs[bad] if output.failure] == ["internal"]
    assert tokens(outputs[bad]) == []


def test_a_broken_prompt_is_not_shared(resident, counting):
    """What a failed sequence left in the cache is offered to nobody."""
    counting.poison = 20
    run(resident, Sequence([20] * 33, 3, GREEDY))

    assert resident.scheduler.cache.reusable(BlockTable(), [20] * 33) == NO_PREFIX


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ValueError("shapes"), "internal"),
        (MemoryError(), "out_of_memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "out_of_memory"),
    ],
)
def test_a_step_that_raises_ends_its_batch_and_no_more(resident, counting, error, code):
    """The model lives on, and the next request works."""
    counting.trap[30] = error
    broken = Sequence([30], 3, GREEDY)
    outputs = run(resident, broken)
    after = Sequence([1], 2, GREEDY)

    assert [output.failure.code for output in outputs[broken]] == [code]
    assert tokens(run(resident, after)[after]) == [2, 3]


def test_a_sequence_that_outgrows_the_cache_is_told(resident):
    """Its tokens so far were sent; then it fails with out_of_memory."""
    sequence = Sequence([0] * 120, 99, Sampling(temperature=0, logit_bias={0: 99.0}))
    outputs = run(resident, sequence)[sequence]

    assert len(tokens(outputs)) == 9
    assert outputs[-1].failure.code == "out_of_memory"


def test_how_long_it_took_comes_with_the_first_token(resident):
    """And with no other; the wait before the first step counts from the arrival."""
    sequence = Sequence([1, 2, 3], 3, GREEDY, arrived_at=1.0)

    first, *others = run(resident, sequence)[sequence]

    assert first.spent is not None
    assert first.spent.queue_seconds == sequence.started_at - 1.0
    assert first.spent.prefill_seconds > 0
    assert [output.spent for output in others] == [None, None]
