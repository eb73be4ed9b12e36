"""RWKV's recurrences: by the row, in chunks and in batches, against the published equations."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from engine.kernels import ops
from engine.kernels.reference_rwkv import rwkv6_chunked, rwkv6_step, rwkv7_chunked, rwkv7_step
from tests.engine.batches import layout_of

HEADS, DK, DV = 2, 4, 6
Rows = tuple[Tensor, ...]


def plain6(state: Tensor, rows: Rows, extra: Rows) -> tuple[Tensor, Tensor]:
    """Equations 19 and 20 of arXiv:2404.05892, row by row."""
    outputs, (bonus,) = [], extra
    for r, k, v, log_decay in zip(*rows, strict=True):
        written = torch.einsum("hi,hj->hij", k, v)
        outputs.append(torch.einsum("hi,hij->hj", r, state + bonus[..., None] * written))
        state = log_decay.exp()[..., None] * state + written
    return torch.stack(outputs), state


def plain7(state: Tensor, rows: Rows, _: Rows) -> tuple[Tensor, Tensor]:
    """Equations 16 and 17 of arXiv:2503.14456, row by row, with a state (values, keys) as there."""
    outputs, state = [], state.mT
    for r, k, v, log_decay, removal, rate in zip(*rows, strict=True):
        change = torch.diag_embed(log_decay.exp())
        change = change - torch.einsum("hi,hj->hij", removal, rate * removal)
        state = state @ change + torch.einsum("hi,hj->hij", v, k)
        outputs.append(torch.einsum("hij,hj->hi", state, r))
    return torch.stack(outputs), state.mT


@dataclass(frozen=True)
class Kind:
    """One recurrence. forms: of its step and its scan; rows: made of a number of rows."""

    op: Callable[..., Tensor]
    plain: Callable[[Tensor, Rows, Rows], tuple[Tensor, Tensor]]
    step: Callable[..., tuple[Tensor, Tensor]]
    chunked: Callable[..., tuple[Tensor, Tensor]]
    rows: Callable[[int], Rows]
    extra: Callable[[], Rows]
    inner: Callable[[Rows], Rows]


def common(count: int) -> Rows:
    return *(torch.randn(count, HEADS, DK) for _ in range(2)), torch.randn(count, HEADS, DV)


def rows6(count: int) -> Rows:
    return *common(count), -torch.exp(3 * torch.randn(count, HEADS, DK))


def rows7(count: int) -> Rows:
    log_decay = -0.606531 * torch.sigmoid(3 * torch.randn(count, HEADS, DK))
    removal = torch.nn.functional.normalize(torch.randn(count, HEADS, DK), dim=-1)
    return *common(count), log_decay, removal, torch.rand(count, HEADS, DK)


def inner7(rows: Rows) -> Rows:
    """What step and scan take: the rate comes with what is removed."""
    return *rows[:5], rows[4] * rows[5]


RWKV6 = Kind(
    ops.rwkv6_scan,
    plain6,
    rwkv6_step,
    rwkv6_chunked,
    rows6,
    lambda: (torch.randn(HEADS, DK),),
    lambda rows: rows,
)
RWKV7 = Kind(ops.rwkv7_scan, plain7, rwkv7_step, rwkv7_chunked, rows7, tuple, inner7)

every_kind = pytest.mark.parametrize("kind", [RWKV6, RWKV7], ids=["rwkv6", "rwkv7"])


def exact(kind: Kind, state: Tensor, rows: Rows, extra: Rows) -> tuple[Tensor, Tensor]:
    """The plain scan in float64."""
    doubled = tuple(each.double() for each in rows), tuple(each.double() for each in extra)
    return kind.plain(state.double(), *doubled)


def assert_near(found: Tensor, expected: Tensor, tolerance: float = 1e-4) -> None:
    scale = expected.abs().max().clamp(min=1)
    assert torch.isfinite(found).all()
    assert float(((found - expected) / scale).abs().max()) <= tolerance


@every_kind
def test_chunks_of_any_size_are_the_plain_scan(kind):
    """Outputs and state, whatever the length and however it is cut."""

    @settings(max_examples=40)
    @given(st.integers(1, 80), st.integers(1, 64), st.integers(0, 999))
    def check(count: int, size: int, seed: int) -> None:
        torch.manual_seed(seed)
        state, rows, extra = torch.randn(HEADS, DK, DV), kind.rows(count), kind.extra()
        outputs, last = kind.chunked(state, *kind.inner(rows), *extra, size=size)
        expected, expected_last = exact(kind, state, rows, extra)
        assert_near(outputs, expected)
        assert_near(last, expected_last)

    check()


@every_kind
def test_a_batch_of_mixed_lengths_is_each_sequence_alone(kind):
    """States go from the slot they are read from to the slot they are left in, and no further."""
    torch.manual_seed(0)
    counts, states = [1, 5, 1, 40, 2], [(3, 0), (-1, 5), (-1, 6), (4, 1), (2, 2)]
    layout = layout_of(counts, counts, torch.arange(15).view(5, 3), 16, states)
    slots = torch.full((7, HEADS, DK, DV), torch.nan)
    begun = {slot: torch.randn(HEADS, DK, DV) for slot in (3, 4, 2)}
    for slot, state in begun.items():
        slots[slot] = state
    rows, extra = kind.rows(sum(counts)), kind.extra()

    outputs = kind.op(*rows, *extra, slots, layout).split(counts)

    parts = zip(*(each.split(counts) for each in rows), strict=True)
    for (read, write), own, output in zip(states, parts, outputs, strict=True):
        before = begun.get(read, torch.zeros(HEADS, DK, DV))
        expected, after = exact(kind, before, own, extra)
        assert_near(output, expected)
        assert_near(slots[write], after)
    assert torch.equal(slots[3], begun[3])


@every_kind
def test_a_thousand_steps_do_not_drift(kind):
    """Decoding in float32 stays by the float64 scan."""
    torch.manual_seed(1)
    rows, extra = kind.rows(1000), kind.extra()
    state = torch.zeros(1, HEADS, DK, DV)
    outputs = []
    for row in zip(*kind.inner(rows), strict=True):
        output, state = kind.step(state, *(each[None] for each in row), *extra)
        outputs.append(output[0])

    expected, last = exact(kind, torch.zeros(HEADS, DK, DV), rows, extra)
    assert_near(torch.stack(outputs), expected)
    assert_near(state[0], last)


@pytest.mark.parametrize("log_decay", [0.0, -1e-9, -80.0, -1e30, -torch.inf])
def test_rwkv6_bears_any_decay(log_decay):
    """A state kept whole, and one forgotten at once: nothing overflows on the way."""
    torch.manual_seed(2)
    state, (*most, _), extra = torch.randn(HEADS, DK, DV), rows6(50), RWKV6.extra()
    rows = *most, torch.full((50, HEADS, DK), log_decay)

    outputs, last = rwkv6_chunked(state, *rows, *extra)

    expected, expected_last = exact(RWKV6, state, rows, extra)
    assert_near(outputs, expected)
    assert_near(last, expected_last)


@pytest.mark.parametrize("log_decay", [0.0, -0.606531])
@pytest.mark.parametrize("size", [16, 32, 64])
def test_rwkv7_bears_the_ends_of_its_decays(log_decay, size):
    """exp(-0.6065) is as fast as RWKV-7 forgets: chunks of 64 still hold it."""
    torch.manual_seed(3)
    state, rows = torch.randn(HEADS, DK, DV), rows7(130)
    rows = *rows[:3], torch.full_like(rows[3], log_decay), *rows[4:]

    outputs, last = rwkv7_chunked(state, *inner7(rows), size=size)

    expected, expected_last = exact(RWKV7, state, rows, ())
    assert_near(outputs, expected)
    assert_near(last, expected_last)


def test_what_a_row_says_to_itself_is_weighed_by_head():
    """v, times the sum over a head of r, k and its factors."""
    r, k, v = common(3)
    factors = torch.randn(HEADS, DK)
    expected = torch.einsum("thi,thi,hi,thj->thj", r, k, factors, v)

    assert torch.allclose(ops.rwkv7_bonus(r, k, v, factors), expected, atol=1e-5)


def test_outputs_have_the_dtype_of_values():
    """The scans compute in float32 and round once."""
    layout = layout_of([3], [3], torch.arange(1)[None], 16)
    rows = [each.bfloat16() for each in rows6(3)]
    state = torch.zeros(1, HEADS, DK, DV)

    assert ops.rwkv6_scan(*rows, torch.randn(HEADS, DK), state, layout).dtype == torch.bfloat16
