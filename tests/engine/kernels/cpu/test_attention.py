"""Native attention over paged caches, and writing to them, against the reference."""

from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from engine.kernels import ops
from engine.kernels.batch import BatchLayout
from engine.kernels.cpu.calls import Threads, run
from tests.engine.batches import layout_of
from tests.engine.tiled_weights import ISAS, limited_to, needs_library

pytestmark = needs_library

BATCHES = {
    "one token": ([1], [1]),
    "decodes": ([1, 1, 1, 1], [1, 17, 300, 96]),
    "one prompt": ([150], [150]),
    "a later chunk": ([40], [230]),
    "a mixture": ([1, 70, 1, 5, 2], [97, 70, 193, 21, 100]),
}
HEADS = ((1, 1), (2, 2), (3, 1), (8, 2), (5, 1), (8, 1), (18, 2))


@pytest.fixture(scope="module")
def threads() -> Threads:
    return Threads(2)


@dataclass(slots=True)
class Case:
    """Caches of NaN, in which only what the sequences have is a number; their blocks are strewn."""

    num_rows: list[int]
    lens: list[int]
    heads: tuple[int, int] = (4, 2)
    sizes: tuple[int, int] = (32, 32)
    dtype: torch.dtype = torch.float32
    block_size: int = 16
    layout: BatchLayout = field(init=False)
    q: Tensor = field(init=False)
    keys: Tensor = field(init=False)
    values: Tensor = field(init=False)

    def __post_init__(self) -> None:
        torch.manual_seed(len(self.lens) + self.sizes[0])
        blocks = -(-max(self.lens) // self.block_size)
        tables = torch.randperm(len(self.lens) * blocks).view(-1, blocks)
        everything = layout_of(self.lens, self.lens, tables, self.block_size)
        self.layout = layout_of(self.num_rows, self.lens, tables, self.block_size)
        self.q = torch.randn(sum(self.num_rows), self.heads[0], self.sizes[0])
        self.keys = self._cache(tables.numel(), self.sizes[0], everything.slots)
        self.values = self._cache(tables.numel(), self.sizes[1], everything.slots)

    def _cache(self, blocks: int, size: int, slots: Tensor) -> Tensor:
        shape = (blocks, self.block_size, self.heads[1], size)
        cache = torch.full(shape, torch.nan, dtype=self.dtype)
        cache.flatten(0, 1)[slots] = torch.randn(len(slots), *shape[2:]).to(self.dtype)
        return cache

    def check(
        self,
        threads: Threads,
        window: int | None = None,
        softcap: float | None = None,
        sinks: Tensor | None = None,
        alibi: Tensor | None = None,
    ) -> None:
        expected = ops.paged_attention(
            self.q,
            self.keys,
            self.values,
            self.layout,
            scale=0.2,
            window=window,
            softcap=softcap,
            sinks=sinks,
            alibi=alibi,
        )
        found = torch.full_like(expected, torch.nan)
        settings = (0.2, window or 0, softcap or 0, *self.heads, *self.sizes)
        inputs = (self.q, self.keys, self.values, sinks, alibi)
        run(threads, "paged_attention", inputs, found, settings, self.layout)
        torch.testing.assert_close(found, expected, atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES)
def test_batches(
    threads: Threads, isa: str, dtype: torch.dtype, batch: tuple[list[int], list[int]]
) -> None:
    """Prompts, chunks and decodes, mixed; what is in no sequence's cache is never let in."""
    with limited_to(isa):
        for heads in HEADS:
            Case(*batch, heads=heads, dtype=dtype).check(threads)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("sizes", [(s, s) for s in (8, 16, 20, 64, 80, 96, 128, 256)] + [(24, 16)])
def test_sizes_of_heads(threads: Threads, isa: str, sizes: tuple[int, int]) -> None:
    """Any, of keys and of values, whatever the size of a vector."""
    with limited_to(isa):
        for dtype in (torch.float32, torch.bfloat16):
            Case([1, 20, 1], [40, 33, 100], sizes=sizes, dtype=dtype).check(threads)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("block_size", [1, 4, 16, 128])
def test_contexts_across_blocks(threads: Threads, isa: str, block_size: int) -> None:
    """Of every length about a block's border."""
    with limited_to(isa):
        for length in (1, 3, 4, 5, 15, 16, 17, 95, 96, 97, 127, 129):
            Case([1, min(length, 9)], [length] * 2, block_size=block_size).check(threads)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES)
@pytest.mark.parametrize("kind", ["window", "softcap", "sinks", "alibi", "all"])
def test_what_changes_scores(
    threads: Threads, isa: str, batch: tuple[list[int], list[int]], kind: str
) -> None:
    """Each by itself, and all together."""
    case = Case(*batch)
    sinks, slopes = torch.randn(4), torch.rand(4) * -0.3
    with limited_to(isa):
        for window in (1, 7, 16, 100) if kind in ("window", "all") else (None,):
            case.check(
                threads,
                window,
                5.0 if kind in ("softcap", "all") else None,
                sinks if kind in ("sinks", "all") else None,
                slopes if kind in ("alibi", "all") else None,
            )


@pytest.mark.parametrize("isa", ISAS)
def test_long_contexts_are_cut(threads: Threads, isa: str) -> None:
    """Pieces of one sequence's keys come together to what the whole gives, great scores included."""
    case = Case([1], [5000], heads=(2, 1), sizes=(64, 64), dtype=torch.bfloat16)
    case.q *= 20
    with limited_to(isa):
        case.check(threads)
        case.check(threads, window=3000, sinks=torch.tensor([50.0, -3.0]))


@pytest.mark.parametrize("isa", ISAS)
def test_a_decode_does_not_depend_on_what_runs_beside_it(threads: Threads, isa: str) -> None:
    """To the last bit, however its keys are cut: speculation and batches rely on it."""
    lens, num_rows = [3000, 1, 40, 700, 2999, 120], [1, 1, 1, 1, 1, 60]
    case = Case(num_rows, lens, heads=(6, 2), sizes=(64, 64), dtype=torch.bfloat16)

    def attended(q: Tensor, layout: BatchLayout) -> Tensor:
        found = torch.full((len(q), 6, 64), torch.nan)
        inputs, settings = (q, case.keys, case.values, None, None), (0.2, 0, 0, 6, 2, 64, 64)
        run(threads, "paged_attention", inputs, found, settings, layout)
        return found

    with limited_to(isa):
        together = attended(case.q, case.layout)
        for number, length in enumerate(lens[:5]):
            table = case.layout.block_tables[number : number + 1]
            alone = layout_of([1], [length], table, case.block_size)
            assert torch.equal(attended(case.q[number : number + 1], alone)[0], together[number])


@pytest.mark.parametrize("isa", ISAS)
def test_what_is_not_finite_stays_so(threads: Threads, isa: str) -> None:
    """A NaN in one row's query spoils that row."""
    for rows in (1, 30):
        case = Case([rows, rows], [40, 40])
        case.q[0] = torch.nan
        found = torch.zeros(2 * rows, 4, 32)
        inputs = (case.q, case.keys, case.values, None, None)
        with limited_to(isa):
            run(threads, "paged_attention", inputs, found, (0.2, 0, 0, 4, 2, 32, 32), case.layout)
        assert found[0].isnan().all()
        assert found[1:].isfinite().all()


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("size", [16, 20, 129])
def test_writes(threads: Threads, isa: str, dtype: torch.dtype, size: int) -> None:
    """To the rows' slots only, rounded as torch rounds."""
    case = Case([1, 20, 3], [40, 33, 100], sizes=(size, 8), dtype=dtype)
    k, v = torch.randn(24, 2, size), torch.randn(24, 2, 8)
    k[3, 0, 0] = torch.nan
    expected = case.keys.clone(), case.values.clone()
    ops.cache_write(k.to(dtype), v.to(dtype), *expected, case.layout)
    latents = case.keys.flatten(2).clone()
    with limited_to(isa):
        run(threads, "cache_write", (k, v, case.keys, case.values), None, (2,), case.layout)
        run(threads, "latent_write", (k.flatten(1), latents), None, (), case.layout)
    same = {"atol": 0, "rtol": 0, "equal_nan": True}
    torch.testing.assert_close((case.keys, case.values), expected, **same)
    torch.testing.assert_close(latents, expected[0].flatten(2), **same)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES)
@pytest.mark.parametrize("heads", [3, 16, 100])
def test_latents(
    threads: Threads, isa: str, batch: tuple[list[int], list[int]], heads: int
) -> None:
    """One latent for all heads, all seen or only those chosen for a row."""
    for dtype in (torch.float32, torch.bfloat16):
        case = Case(*batch, heads=(heads, 1), sizes=(40, 8), dtype=dtype)
        latents = case.keys[:, :, 0]
        for chosen in (None, _some_of_each(case)):
            expected = ops.latent_attention(
                case.q, latents, case.layout, scale=0.2, value_dim=32, chosen=chosen
            )
            found = torch.full_like(expected, torch.nan)
            inputs, settings = (case.q, latents, chosen), (0.2, 32, heads, 40)
            with limited_to(isa):
                run(threads, "latent_attention", inputs, found, settings, case.layout)
            torch.testing.assert_close(found, expected, atol=2e-5, rtol=2e-5)


def _some_of_each(case: Case) -> Tensor:
    """Up to 12 positions of each row's, itself among them."""
    positions = [
        length - rows + row
        for rows, length in zip(case.num_rows, case.lens, strict=True)
        for row in range(rows)
    ]
    chosen = torch.full((len(positions), 12), -1)
    for row, position in enumerate(positions):
        some = torch.randperm(position)[:11]
        chosen[row, : len(some)] = some
        chosen[row, 11] = position
    return chosen
