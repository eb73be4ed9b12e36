"""Paged attention against attention written out row by row."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from engine.kernels import ops, reference_attention
from engine.kernels.reference_attention import F8
from tests.engine.batches import layout_of

HEADS, KV_HEADS, DIM, BLOCK = 4, 2, 8, 4


class Case:
    """Sequences with random keys and values, in blocks strewn over a cache of NaN."""

    def __init__(self, num_rows: list[int], context_lens: list[int]) -> None:
        torch.manual_seed(0)
        self.num_rows, self.lens = num_rows, context_lens
        self.q = torch.randn(sum(num_rows), HEADS, DIM)
        self.k = [torch.randn(length, KV_HEADS, DIM) for length in context_lens]
        self.v = [torch.randn(length, KV_HEADS, DIM) for length in context_lens]
        blocks = -(-max(context_lens) // BLOCK)
        tables = torch.randperm(len(num_rows) * blocks).view(len(num_rows), blocks)
        self.keys = torch.full((tables.numel(), BLOCK, KV_HEADS, DIM), torch.nan)
        self.values = self.keys.clone()
        everything = layout_of(context_lens, context_lens, tables, BLOCK)
        ops.cache_write(torch.cat(self.k), torch.cat(self.v), self.keys, self.values, everything)
        self.layout = layout_of(num_rows, context_lens, tables, BLOCK)

    def run(self, window: int | None = None, softcap: float | None = None) -> Tensor:
        return ops.paged_attention(
            self.q, self.keys, self.values, self.layout, scale=0.3, window=window, softcap=softcap
        )

    def expected(self, window: int | None = None, softcap: float | None = None) -> Tensor:
        rows, results = iter(self.q), []
        for num_rows, length, k, v in zip(self.num_rows, self.lens, self.k, self.v, strict=True):
            for position in range(length - num_rows, length):
                seen = slice(max(0, position + 1 - (window or length)), position + 1)
                results.append(_attend_row(next(rows), k[seen], v[seen], softcap))
        return torch.stack(results)


def _attend_row(q: Tensor, k: Tensor, v: Tensor, softcap: float | None) -> Tensor:
    heads = []
    for head, query in enumerate(q):
        of_head = head // (HEADS // KV_HEADS)
        scores = 0.3 * (k[:, of_head] @ query)
        if softcap:
            scores = softcap * torch.tanh(scores / softcap)
        heads.append(scores.softmax(0) @ v[:, of_head])
    return torch.stack(heads)


BATCHES = {
    "one prompt": ([9], [9]),
    "a later chunk": ([3], [18]),
    "decodes": ([1, 1, 1], [1, 17, 8]),
    "a mixture": ([1, 1, 6, 1, 5], [5, 12, 6, 1, 21]),
}


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("window", [None, 1, 3, 8])
@pytest.mark.parametrize("softcap", [None, 0.7])
def test_attention_is_what_each_row_sees(batch, window, softcap):
    """Any mixture of prefills and decodes, with and without window and softcap."""
    case = Case(*BATCHES[batch])

    assert torch.allclose(
        case.run(window, softcap), case.expected(window, softcap), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("batch", BATCHES)
def test_bounds_on_memory_do_not_change_the_result(batch, monkeypatch):
    """Scores in slices of rows, decodes in groups of any size: all the same."""
    monkeypatch.setattr(reference_attention, "SCORES_BYTES", 100)
    monkeypatch.setattr(reference_attention, "GATHER_TOKENS", 20)
    case = Case(*BATCHES[batch])

    assert torch.allclose(case.run(), case.expected(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("batch", BATCHES)
def test_sinks_take_their_share_of_each_head(batch, monkeypatch):
    """As if every row saw one more token, with its head's score and a value of nothing."""
    monkeypatch.setattr(reference_attention, "SCORES_BYTES", 400)
    case, sinks = Case(*BATCHES[batch]), torch.tensor([-1.0, 0.0, 1.0, 2.0])
    expected = []
    rows = iter(case.q)
    for num_rows, length, k, v in zip(case.num_rows, case.lens, case.k, case.v, strict=True):
        for seen in range(length - num_rows + 1, length + 1):
            keys = k[:seen].repeat_interleave(HEADS // KV_HEADS, dim=1)
            values = v[:seen].repeat_interleave(HEADS // KV_HEADS, dim=1)
            scores = 0.3 * torch.einsum("hd,thd->ht", next(rows), keys)
            shares = torch.cat([scores, sinks[:, None]], dim=1).softmax(-1)[:, :-1]
            expected.append(torch.einsum("ht,thd->hd", shares, values))
    attended = ops.paged_attention(
        case.q, case.keys, case.values, case.layout, scale=0.3, sinks=sinks
    )

    assert torch.allclose(attended, torch.stack(expected), rtol=0, atol=1e-5)


def test_a_window_reads_only_its_blocks():
    """What lies before the window is not even fetched: NaN there does no harm."""
    case = Case([1], [40])
    old_blocks = case.layout.block_tables[0, :8]
    case.keys[old_blocks] = torch.nan
    case.values[old_blocks] = torch.nan

    assert torch.allclose(case.run(window=3), case.expected(window=3), rtol=0, atol=1e-5)


def test_cache_write_touches_its_slots_only():
    """The rows' places are written, all others stay."""
    case = Case([2], [7])
    before = case.keys.clone()
    rows = torch.ones(2, KV_HEADS, DIM)
    ops.cache_write(rows, rows, case.keys, case.values, case.layout)
    written = case.keys.flatten(0, 1)

    assert (written[case.layout.slots] == 1).all()
    untouched = torch.ones(len(written), dtype=torch.bool)
    untouched[case.layout.slots] = False
    assert torch.equal(
        written[untouched].nan_to_num(9), before.flatten(0, 1)[untouched].nan_to_num(9)
    )


def test_alibi_grows_with_the_keys_position():
    """Each head by its own slope, in a prompt and in a decode beside it."""
    case, slopes = Case([9, 1], [9, 13]), torch.tensor([0.5, 0.25, 0.1, 0.0])
    made = ops.paged_attention(case.q, case.keys, case.values, case.layout, scale=0.3, alibi=slopes)

    for row, (q, sequence, length) in enumerate(
        [(case.q[index], 0, index + 1) for index in range(9)] + [(case.q[9], 1, 13)]
    ):
        for head in range(HEADS):
            k, v = (each[sequence][:length, head // 2] for each in (case.k, case.v))
            scores = 0.3 * (k @ q[head]) + slopes[head] * torch.arange(length)
            expected = scores.softmax(0) @ v
            assert torch.allclose(made[row, head], expected, atol=1e-5)


def test_what_is_kept_in_fp8_is_rounded_and_bounded():
    """e4m3 without a scale; attention is over what is kept."""
    case = Case([1, 3], [12, 9])
    keys, values = (torch.zeros(each.shape, dtype=F8) for each in (case.keys, case.values))
    tables = case.layout.block_tables
    everything = layout_of([12, 9], [12, 9], tables, BLOCK)
    k, v = torch.cat(case.k), torch.cat(case.v) * 300
    k[0, 0, 0], v[1, 0, 0] = 1e9, torch.nan
    ops.cache_write(k, v, keys, values, everything)
    case.k, case.v = ([*each.clamp(-448, 448).to(F8).float().split([12, 9])] for each in (k, v))
    case.keys, case.values = keys, values
    found, expected = case.run(), case.expected()

    assert case.k[0][0, 0, 0] == 448
    assert found[0, :2, 0].isnan().all()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4, equal_nan=True)


@pytest.mark.parametrize("sinks", [None, torch.zeros(HEADS)])
def test_rows_that_fill_up_a_batch_are_zero(sinks):
    """They have no slot, and stand before their sequence; one may have no rows at all."""
    case = Case([3, 1], [9, 12])
    expected = case.run()
    layout = case.layout
    filled = replace(
        layout,
        query_starts=torch.cat([layout.query_starts, torch.tensor([5, 5, 7])]),
        context_lens=torch.cat([layout.context_lens, torch.tensor([0, 6, 0])]),
        block_tables=torch.cat(
            [layout.block_tables, torch.zeros_like(layout.block_tables), layout.block_tables[:1]]
        ),
        slots=torch.cat([layout.slots, torch.full((3,), -1)]),
    )
    q = torch.cat([case.q, torch.ones(3, HEADS, DIM)])
    before = case.keys.clone()
    rows = torch.ones(7, KV_HEADS, DIM)
    found = ops.paged_attention(q, case.keys, case.values, filled, scale=0.3, sinks=sinks)
    ops.cache_write(rows, rows, case.keys, case.keys.clone(), filled)
    written = (case.keys != before).flatten(1).any(1) & ~case.keys.isnan().flatten(1).all(1)

    assert (found[4:] == 0).all()
    assert sinks is not None or torch.equal(found[:4], expected)
    assert set(written.nonzero().flatten().tolist()) <= set((layout.slots // BLOCK).tolist())
