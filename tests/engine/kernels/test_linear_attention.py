"""Lightning attention: its forms against the plain scan, and against each other in a batch."""

import random

import pytest
import torch
from torch import Tensor

from engine.kernels import ops
from engine.kernels.reference_linear_attention import chunked, step
from tests.engine.batches import layout_of

HEADS, DIM = 3, 8


def plain_scan(
    state: Tensor, q: Tensor, k: Tensor, v: Tensor, slopes: Tensor
) -> tuple[Tensor, Tensor]:
    """The recurrence as it is written, a row at a time."""
    outputs = []
    for row in range(len(q)):
        kept = torch.exp(-slopes)[:, None, None] * state
        state = kept + torch.einsum("hi,hj->hij", k[row], v[row])
        outputs.append(torch.einsum("hi,hij->hj", q[row], state))
    return torch.stack(outputs), state


def random_rows(count: int, seed: int) -> tuple[Tensor, ...]:
    """q, k and v."""
    return torch.randn(3, count, HEADS, DIM, generator=torch.Generator().manual_seed(seed)).unbind()


def random_state(*leading: int) -> Tensor:
    return torch.randn(*leading, HEADS, DIM, DIM, generator=torch.Generator().manual_seed(9))


SLOPES = torch.tensor([1e-6, 0.05, 0.8])


@pytest.mark.parametrize("seed", range(6))
def test_chunks_equal_the_plain_scan(seed):
    """Any number of rows in chunks of any size gives what row after row does."""
    drawn = random.Random(seed)
    rows = random_rows(drawn.randint(1, 60), seed)
    expected, after = plain_scan(random_state(), *rows, SLOPES)
    outputs, state = chunked(random_state(), *rows, SLOPES, chunk_rows=drawn.randint(1, 70))

    assert torch.allclose(outputs, expected, rtol=1e-4, atol=1e-4)
    assert torch.allclose(state, after, rtol=1e-4, atol=1e-4)


def test_steps_equal_the_plain_scan():
    """Rows of several sequences, each from a state of its own."""
    rows, before = random_rows(4, 1), random_state(4)
    outputs, after = step(before, *rows, SLOPES)
    for index in range(4):
        own = (each[index : index + 1] for each in rows)
        expected, state = plain_scan(before[index], *own, SLOPES)

        assert torch.allclose(outputs[index], expected[0], rtol=1e-5, atol=1e-5)
        assert torch.allclose(after[index], state, rtol=1e-5, atol=1e-5)


def test_a_batch_reads_and_writes_the_slots_it_names():
    """Beginning, going on and one-row sequences together; what no read names may be NaN."""
    counts, slots = [5, 1, 7, 1], [(-1, 0), (4, 1), (5, 5), (-1, 2)]
    state = torch.full((6, HEADS, DIM, DIM), torch.nan)
    state[4:6] = random_state(2)
    begun = {4: state[4].clone(), 5: state[5].clone()}
    rows = random_rows(sum(counts), 2)
    layout = layout_of(counts, counts, torch.arange(4)[:, None], 16, slots)
    outputs = ops.linear_attention(torch.cat(rows, dim=-1), SLOPES, state, layout).split(counts)
    parts = zip(*(each.split(counts) for each in rows), strict=True)
    for output, part, (read, write) in zip(outputs, parts, slots, strict=True):
        before = begun.get(read, torch.zeros(HEADS, DIM, DIM))
        expected, after = plain_scan(before, *part, SLOPES)

        assert torch.allclose(output, expected, rtol=1e-4, atol=1e-4)
        assert torch.allclose(state[write], after, rtol=1e-4, atol=1e-4)
    assert state[3].isnan().all()


@pytest.mark.parametrize("slope", [0.0, 300.0, 1e30])
def test_extreme_decays_stay_finite(slope):
    """A head that forgets nothing, and heads that forget all at once."""
    slopes, rows = torch.full((HEADS,), slope), random_rows(300, 3)
    outputs, state = chunked(random_state(), *rows, slopes)
    expected, after = plain_scan(random_state(), *rows, slopes)

    assert torch.allclose(outputs, expected, rtol=1e-3, atol=1e-2)
    assert torch.allclose(state, after, rtol=1e-3, atol=1e-2)


def test_a_thousand_steps_do_not_drift():
    """Decoding in float32 ends where a scan in float64 does."""
    rows = random_rows(1000, 4)
    state, outputs = random_state(1), []
    for q, k, v in zip(*rows, strict=True):
        output, state = step(state, q[None], k[None], v[None], SLOPES)
        outputs.append(output[0])
    wide = (each.double() for each in (random_state(), *rows, SLOPES))
    expected, after = plain_scan(*wide)

    assert torch.allclose(torch.stack(outputs).double(), expected, rtol=1e-4, atol=1e-3)
    assert torch.allclose(state[0].double(), after, rtol=1e-4, atol=1e-3)


def test_bfloat16_rows_keep_their_dtype():
    """What is computed in float32 comes back as it was given; the state stays float32."""
    rows = [each.bfloat16() for each in random_rows(5, 5)]
    state = torch.zeros(1, HEADS, DIM, DIM)
    outputs = ops.linear_attention(
        torch.cat(rows, dim=-1), SLOPES, state, layout_of([5], [5], torch.zeros(1, 1), 16)
    )

    assert (outputs.dtype, state.dtype) == (torch.bfloat16, torch.float32)
    assert outputs.isfinite().all()
