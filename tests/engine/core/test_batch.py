"""From chunks to tensors."""

import torch

from engine.api import Sampling
from engine.cache.table import BlockTable
from engine.core.batch import forward_batch, logit_positions
from engine.core.plan import BatchPlan, Chunk, chunk_of
from engine.core.sequence import Sequence


def test_rows_stand_where_their_blocks_say():
    """Tokens, positions and slots of each chunk, one after the other."""
    reading = Sequence([10, 11, 12, 13, 14, 15], 4, table=BlockTable(blocks=[7, 2]))
    reading.num_computed = 2
    decoding = Sequence([20, 21, 22], 4, table=BlockTable(blocks=[5]))
    decoding.num_computed = 2
    plan = BatchPlan((chunk_of(reading, 3), chunk_of(decoding, 8)))
    batch = forward_batch(plan, block_size=4, device=torch.device("cpu"))

    assert batch.token_ids.tolist() == [12, 13, 14, 22]
    assert batch.positions.tolist() == [2, 3, 4, 2]
    assert batch.logit_rows.tolist() == [3]
    assert batch.layout.query_starts.tolist() == [0, 3, 4]
    assert batch.layout.context_lens.tolist() == [5, 3]
    assert batch.layout.block_tables.tolist() == [[7, 2], [5, 0]]
    assert batch.layout.slots.tolist() == [30, 31, 8, 22]


def test_rows_of_a_draft_are_sequences_of_their_own():
    """Each stands as the decode that it would be, over the same blocks, and all of them sample."""
    sequence = Sequence([20, 21, 22], 9, table=BlockTable(blocks=[5, 3]), num_computed=2)
    chunk = chunk_of(sequence, 1).with_draft((30, 31))
    batch = forward_batch(BatchPlan((chunk,)), block_size=4, device=torch.device("cpu"))

    assert batch.token_ids.tolist() == [22, 30, 31]
    assert batch.positions.tolist() == [2, 3, 4]
    assert batch.lengths.tolist() == [3, 4, 5]
    assert batch.logit_rows.tolist() == [0, 1, 2]
    assert batch.layout.query_starts.tolist() == [0, 1, 2, 3]
    assert batch.layout.context_lens.tolist() == [3, 4, 5]
    assert batch.layout.block_tables.tolist() == [[5, 0], [5, 0], [5, 3]]
    assert batch.layout.slots.tolist() == [22, 23, 12]


def test_wanted_rows_are_those_that_score_and_the_one_that_samples():
    """A scored prompt wants logits everywhere, and its last row's to go on."""
    sequence = Sequence([1, 2, 3, 4], 1, Sampling(prompt_logprobs=True))

    assert logit_positions(chunk_of(sequence, 9)) == [0, 1, 2, 3]
    assert logit_positions(chunk_of(sequence, 3)) == [0, 1, 2]
    assert logit_positions(Chunk(sequence, 0, 2, range(0), samples=False)) == []


def test_a_step_without_wanted_logits_is_a_step():
    """A chunk in the middle of a prompt wants none."""
    sequence = Sequence([1, 2, 3, 4], 1, table=BlockTable(blocks=[0]))
    batch = forward_batch(BatchPlan((chunk_of(sequence, 2),)), 4, torch.device("cpu"))

    assert batch.logit_rows.tolist() == []
    assert batch.logit_rows.dtype == torch.int64


def test_states_are_read_and_written_where_the_table_says():
    """One that begins reads none; without blocks no row has a place."""
    begins = Sequence([1, 2], 1, table=BlockTable(state_write=4))
    resumes = Sequence([3, 4, 5], 1, table=BlockTable(state_read=2, state_write=0), num_computed=2)
    plan = BatchPlan((chunk_of(begins, 9), chunk_of(resumes, 9)))
    layout = forward_batch(plan, 4, torch.device("cpu")).layout

    assert layout.state_reads.tolist() == [-1, 2]
    assert layout.state_writes.tolist() == [4, 0]
    assert layout.slots.tolist() == [-1, -1, -1]
    assert layout.block_tables.shape == (2, 0)
