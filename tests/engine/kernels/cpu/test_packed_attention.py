"""Native attention over keys and values in q8_0, and writing them, against the reference."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from engine.kernels import ops
from engine.kernels.cpu.calls import Threads, run
from engine.kernels.q8_0 import pack, row_bytes
from tests.engine.kernels.cpu.test_attention import BATCHES, HEADS, Case
from tests.engine.tiled_weights import ISAS, limited_to, needs_library

pytestmark = needs_library

NEAR = {"atol": 2e-4, "rtol": 2e-4}
"""Where the CPU multiplies bytes a query has 16 bits there, so it is off by 2 ** -16 of its greatest."""


@pytest.fixture(scope="module")
def threads() -> Threads:
    return Threads(2)


def packed(case: Case) -> tuple[Tensor, Tensor]:
    """A case's caches; what was NaN there is NaN here."""
    return pack(case.keys), pack(case.values)


def check(
    threads: Threads,
    case: Case,
    window: int | None = None,
    softcap: float | None = None,
    sinks: Tensor | None = None,
    alibi: Tensor | None = None,
) -> None:
    keys, values = packed(case)
    bent = {"window": window, "softcap": softcap, "sinks": sinks, "alibi": alibi}
    expected = ops.paged_attention(case.q, keys, values, case.layout, scale=0.2, **bent)
    found = torch.full_like(expected, torch.nan)
    numbers = (0.2, window or 0, softcap or 0, *case.heads, *case.sizes)
    run(
        threads,
        "paged_attention",
        (case.q, keys, values, sinks, alibi),
        found,
        numbers,
        case.layout,
    )
    torch.testing.assert_close(found, expected, **NEAR)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES)
def test_batches(threads: Threads, isa: str, batch: tuple[list[int], list[int]]):
    """Prompts, chunks and decodes, mixed; what is in no sequence's cache is never let in."""
    with limited_to(isa):
        for heads in HEADS:
            check(threads, Case(*batch, heads=heads))


@pytest.mark.parametrize("isa", ISAS)
def test_what_changes_scores(threads: Threads, isa: str):
    """Windows, caps, sinks and slopes, all together."""
    with limited_to(isa):
        for batch in BATCHES.values():
            for window in (1, 16, 100):
                sinks, slopes = torch.randn(4), torch.rand(4) * -0.3
                check(threads, Case(*batch), window, 5.0, sinks, slopes)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    lens = draw(st.lists(st.integers(1, 220), min_size=1, max_size=4))
    rows = [draw(st.sampled_from([1, 1, min(length, 37)])) for length in lens]
    cache_heads, group = draw(st.integers(1, 3)), draw(st.integers(1, 10))
    sizes = draw(st.integers(1, 140)), draw(st.integers(1, 140))
    heads = cache_heads * group, cache_heads
    return Case(rows, lens, heads, sizes, block_size=draw(st.sampled_from([1, 16, 32])))


@pytest.mark.parametrize("isa", ISAS)
@given(case=cases())
@settings(max_examples=6, deadline=None)
def test_any_shape(threads: Threads, isa: str, case: Case):
    """Sizes of heads need not be blocks, nor contexts tiles."""
    with limited_to(isa):
        check(threads, case)


@pytest.mark.slow
@pytest.mark.parametrize("isa", ISAS)
@given(case=cases())
@settings(max_examples=300, deadline=None)
def test_any_shape_at_length(threads: Threads, isa: str, case: Case):
    """As before, of many more."""
    with limited_to(isa):
        check(threads, case)


@pytest.mark.parametrize("isa", ISAS)
def test_long_contexts_are_cut(threads: Threads, isa: str):
    """Pieces of one sequence's keys come together to what the whole gives."""
    case = Case([1], [5000], heads=(2, 1), sizes=(64, 64))
    with limited_to(isa):
        check(threads, case)
        check(threads, case, window=3000, sinks=torch.tensor([50.0, -3.0]))


@pytest.mark.parametrize("isa", ISAS)
def test_what_is_not_finite_stays_so(threads: Threads, isa: str):
    """A NaN in one row's query spoils that row, and one in a key the rows that see it."""
    for rows in (1, 30):
        case = Case([rows, rows], [40, 40])
        case.q[0] = torch.nan
        case.keys.flatten(0, 1)[case.layout.slots[-1]] = torch.nan
        found = torch.zeros(2 * rows, 4, 32)
        inputs = (case.q, *packed(case), None, None)
        with limited_to(isa):
            run(threads, "paged_attention", inputs, found, (0.2, 0, 0, 4, 2, 32, 32), case.layout)
        assert found[0].isnan().all()
        assert found[1:-1].isfinite().all()
        assert found[-1].isnan().all()


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("size", [1, 20, 32, 64, 129])
def test_writes(threads: Threads, isa: str, size: int):
    """To the rows' slots only, bit for bit as the reference rounds."""
    case = Case([1, 20, 3], [40, 33, 100], sizes=(size, 8))
    k, v = (
        torch.randn(24, 2, size) * torch.logspace(-9, 6, 24)[:, None, None],
        torch.randn(24, 2, 8),
    )
    k[3, 0, 0], k[4, 1, 0], k[5] = torch.nan, torch.inf, 0
    keys = torch.full((*case.keys.shape[:3], row_bytes(size)), 255, dtype=torch.uint8)
    values = torch.full((*case.keys.shape[:3], row_bytes(8)), 255, dtype=torch.uint8)
    expected = keys.clone(), values.clone()
    ops.cache_write(k, v, *expected, case.layout)
    with limited_to(isa):
        run(threads, "cache_write", (k, v, keys, values), None, (2,), case.layout)
    torch.testing.assert_close(
        (_readable(keys, size), values), (_readable(expected[0], size), expected[1])
    )


def _readable(rows: Tensor, size: int) -> Tensor:
    """A NaN's own bits mean nothing: those of its scale are one."""
    scales = rows[..., size:].clone(memory_format=torch.contiguous_format).view(torch.float16)
    return torch.cat(
        [rows[..., :size], torch.where(scales.isnan(), 0x7E00, scales.view(torch.int16))], -1
    )
