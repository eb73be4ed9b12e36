"""Mamba's scans: chunks, steps and batches against the recurrences as they are written."""

import random

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # torch's own name for it

from engine.kernels import ops
from engine.kernels.reference_ssm import selective_chunks, selective_step, ssd_chunks, ssd_step
from tests.engine.batches import layout_of

CHANNELS, HEADS, DIM, GROUPS, STATE = 10, 6, 5, 2, 4
SEEDS = range(6)
NO_LIMITS = (0.0, float("inf"))


class Selective:
    """Mamba's."""

    state_shape = CHANNELS, STATE

    def __init__(self, seed: int, *, forgetting: float = 1.0) -> None:
        self._draw = torch.Generator().manual_seed(seed)
        self.a = -forgetting * self.normal(CHANNELS, STATE).exp()
        self.d, self.dt_bias = self.normal(CHANNELS), self.normal(CHANNELS)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self._draw)

    def state(self, *leading: int) -> Tensor:
        return self.normal(*leading, *self.state_shape)

    def rows(self, count: int) -> tuple[Tensor, ...]:
        """x, dt, b and c, with dt as it is projected."""
        shapes = (CHANNELS,), (CHANNELS,), (STATE,), (STATE,)
        return tuple(self.normal(count, *shape) for shape in shapes)

    def op(self, rows: tuple[Tensor, ...], state: Tensor, layout) -> Tensor:
        x, dt, b, c = rows
        return ops.selective_scan(x, dt, self.a, b, c, self.d, self.dt_bias, state, layout)

    def plain(self, state: Tensor, rows: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        a, d, bias = (each.to(state.dtype) for each in (self.a, self.d, self.dt_bias))
        outputs = []
        for x, dt, b, c in zip(*rows, strict=True):
            steps = F.softplus(dt + bias)
            state = torch.exp(steps[:, None] * a) * state + torch.outer(steps * x, b)
            outputs.append(state @ c + d * x)
        return torch.stack(outputs), state

    def step(self, state: Tensor, rows: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        x, dt, b, c = rows
        output, state = selective_step(state, x, F.softplus(dt + self.dt_bias), b, c, a=self.a)
        return output + self.d * x, state

    def chunks(self, state: Tensor, rows: tuple[Tensor, ...], size: int) -> tuple[Tensor, Tensor]:
        x, dt, b, c = rows
        steps = F.softplus(dt + self.dt_bias)
        output, state = selective_chunks(state, x, steps, b, c, a=self.a, chunk=size)
        return output + self.d * x, state


class SSD(Selective):
    """Mamba-2's, of two groups."""

    state_shape = HEADS, DIM, STATE

    def __init__(self, seed: int, *, forgetting: float = 1.0) -> None:
        self._draw = torch.Generator().manual_seed(seed)
        self.a = -forgetting * self.normal(HEADS).exp()
        self.d, self.dt_bias = self.normal(HEADS), self.normal(HEADS)
        self.limits = NO_LIMITS

    def rows(self, count: int) -> tuple[Tensor, ...]:
        shapes = (HEADS, DIM), (HEADS,), (GROUPS, STATE), (GROUPS, STATE)
        return tuple(self.normal(count, *shape) for shape in shapes)

    def op(self, rows: tuple[Tensor, ...], state: Tensor, layout) -> Tensor:
        x, dt, b, c = rows
        vectors = self.d, self.dt_bias
        return ops.ssd_scan(x, dt, self.a, b, c, *vectors, state, layout, dt_limits=self.limits)

    def plain(self, state: Tensor, rows: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        a, d, bias = (each.to(state.dtype) for each in (self.a, self.d, self.dt_bias))
        outputs = []
        for x, dt, grouped_b, grouped_c in zip(*rows, strict=True):
            b, c = (each.repeat_interleave(HEADS // GROUPS, 0) for each in (grouped_b, grouped_c))
            steps = F.softplus(dt + bias).clamp(*self.limits)
            added = torch.einsum("h,hp,hn->hpn", steps, x, b)
            state = torch.exp(steps * a)[:, None, None] * state + added
            outputs.append(torch.einsum("hpn,hn->hp", state, c) + d[:, None] * x)
        return torch.stack(outputs), state

    def step(self, state: Tensor, rows: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        output, state = ssd_step(state, *self._prepared(rows))
        return output + self.d[:, None] * rows[0], state

    def chunks(self, state: Tensor, rows: tuple[Tensor, ...], size: int) -> tuple[Tensor, Tensor]:
        output, state = ssd_chunks(state, *self._prepared(rows), chunk=size)
        return output + self.d[:, None] * rows[0], state

    def _prepared(self, rows: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        x, dt, b, c = rows
        steps = F.softplus(dt + self.dt_bias)
        return x * steps[..., None], steps * self.a, b, c


every_scan = pytest.mark.parametrize("kind", [Selective, SSD])


def near(found: Tensor, expected: Tensor) -> bool:
    return torch.allclose(found.to(expected.dtype), expected, rtol=1e-4, atol=1e-4)


@every_scan
@pytest.mark.parametrize("seed", SEEDS)
def test_chunks_equal_the_plain_scan(kind, seed):
    """Any number of rows in chunks of any size gives what row after row does."""
    scan, drawn = kind(seed), random.Random(seed)
    rows, before = scan.rows(drawn.randint(1, 90)), scan.state()
    expected, after = scan.plain(before, rows)
    outputs, state = scan.chunks(before, rows, drawn.randint(1, 100))

    assert near(outputs, expected)
    assert near(state, after)


@every_scan
def test_steps_equal_the_plain_scan(kind):
    """Rows of several sequences together, each from a state of its own."""
    scan = kind(1)
    rows, before = scan.rows(4), scan.state(4)
    outputs, after = scan.step(before, rows)
    for index in range(4):
        own = tuple(each[index : index + 1] for each in rows)
        expected, state = scan.plain(before[index], own)

        assert near(outputs[index], expected[0])
        assert near(after[index], state)


@every_scan
def test_a_batch_reads_and_writes_the_slots_it_names(kind):
    """Beginning, going on and one-row sequences together; what no read names may be NaN."""
    scan = kind(2)
    counts, slots = [5, 1, 70, 1], [(-1, 0), (4, 1), (5, 5), (-1, 2)]
    state = torch.full((6, *scan.state_shape), torch.nan)
    state[4:6] = scan.state(2)
    begun = {4: state[4].clone(), 5: state[5].clone()}
    rows = scan.rows(sum(counts))
    layout = layout_of(counts, counts, torch.arange(20).view(4, 5), 16, slots)
    outputs = scan.op(rows, state, layout).split(counts)
    parts = zip(*(each.split(counts) for each in rows), strict=True)

    for output, part, (read, write) in zip(outputs, parts, slots, strict=True):
        before = begun.get(read, torch.zeros(scan.state_shape))
        expected, after = scan.plain(before, part)
        assert near(output, expected)
        assert near(state[write], after)
    assert state[3].isnan().all()


@every_scan
@pytest.mark.parametrize("forgetting", [0.0, 1e-6, 50.0, 1e6, 1e30])
def test_extreme_decays_stay_finite(kind, forgetting):
    """What forgets nothing, and what forgets all at once, is as in float64."""
    scan = kind(3, forgetting=forgetting)
    rows, before = scan.rows(300), scan.state()
    outputs, state = scan.op(rows, kept := before[None].clone(), one_sequence(300)), kept[0]
    expected, after = scan.plain(before.double(), tuple(each.double() for each in rows))

    assert torch.allclose(outputs.double(), expected, rtol=1e-4, atol=1e-3)
    assert torch.allclose(state.double(), after, rtol=1e-4, atol=1e-3)


def test_a_slow_decay_after_fast_ones_is_exact():
    """Sums of decays in a chunk stay so small that the difference of two is right."""
    scan = SSD(4, forgetting=1e5)
    rows, before = scan.rows(60), scan.state()
    rows[1][30:] = -12.0  # from here on hardly anything is forgotten
    outputs = scan.op(rows, before[None].clone(), one_sequence(60))
    expected, _ = scan.plain(before.double(), tuple(each.double() for each in rows))

    assert torch.allclose(outputs.double(), expected, rtol=1e-3, atol=1e-3)


@every_scan
def test_a_thousand_steps_do_not_drift(kind):
    """Decoding in float32 ends where a scan in float64 does."""
    scan = kind(5, forgetting=0.01)
    rows, before = scan.rows(1000), scan.state()
    state, outputs = before[None], []
    for row in zip(*(each.split(1) for each in rows), strict=True):
        output, state = scan.step(state, row)
        outputs.append(output)
    expected, after = scan.plain(before.double(), tuple(each.double() for each in rows))

    assert torch.allclose(torch.cat(outputs).double(), expected, rtol=1e-4, atol=1e-3)
    assert torch.allclose(state[0].double(), after, rtol=1e-4, atol=1e-3)


def test_dt_is_kept_within_its_limits():
    """After softplus, as Mamba-2 has it."""
    scan = SSD(6)
    scan.limits = (0.4, 0.6)
    rows, before = scan.rows(20), scan.state()
    outputs = scan.op(rows, before[None].clone(), one_sequence(20))

    assert near(outputs, scan.plain(before, rows)[0])


@every_scan
def test_bfloat16_rows_keep_their_dtype(kind):
    """What is computed in float32 comes back as it was given; the state stays float32."""
    scan = kind(7)
    rows = tuple(each.bfloat16() for each in scan.rows(9))
    state = scan.state()[None]
    expected, after = scan.plain(state[0], tuple(each.float() for each in rows))
    outputs = scan.op(rows, state, one_sequence(9))

    assert (outputs.dtype, state.dtype) == (torch.bfloat16, torch.float32)
    assert torch.allclose(outputs.float(), expected, rtol=1e-2, atol=1e-2)
    assert near(state[0], after)


def one_sequence(num_rows: int):
    """Its state before them and after is in slot 0."""
    blocks = torch.arange(-(-num_rows // 16))[None]
    return layout_of([num_rows], [num_rows], blocks, 16, [(0, 0)])
