"""What kernels of attention share: whose rows a tile has, and softmax in parts (arXiv:2307.08691).

A tile has BLOCK_Q rows of one sequence, or of none. Sequence b's tiles are those from
query_starts[b] // BLOCK_Q + b on, so each can be told without looking at a device how many there are:
`num_tiles`. Scores are powers of two.
"""

import triton
from triton import language as tl


def num_tiles(num_rows: int, num_sequences: int, block_q: int) -> int:
    """At least as many as any sequences with so many rows in all need."""
    return num_rows // block_q + num_sequences


@triton.jit
def place(query_starts, num_sequences, BLOCK_Q: tl.constexpr, SINGLES: tl.constexpr):
    """A program's rows: (sequence, first in it, the sequence's first of all rows, its num_rows).

    The first is past the last where there is nothing to do. SINGLES: as in `launches`; if "only",
    each sequence is a tile.
    """
    if SINGLES == "only":
        sequence = tl.program_id(0)
        first = 0
    else:
        sequence, first = _tile_of(query_starts, num_sequences, tl.program_id(0), BLOCK_Q)
    start = tl.load(query_starts + sequence)
    num_rows = (tl.load(query_starts + sequence + 1) - start).to(tl.int32)
    if SINGLES == "only":
        first = tl.where(num_rows == 1, 0, num_rows)
    elif SINGLES == "skipped":
        first = tl.where(num_rows == 1, 1, first)
    return sequence, first, start, num_rows


@triton.jit
def _tile_of(query_starts, num_sequences, index, BLOCK_Q: tl.constexpr):
    """A tile's sequence and the first of its rows there."""
    low = index * 0
    high = num_sequences
    while high - low > 1:
        middle = (low + high) // 2
        first = (tl.load(query_starts + middle) // BLOCK_Q).to(tl.int32) + middle
        if first <= index:
            low = middle
        else:
            high = middle
    first = (tl.load(query_starts + low) // BLOCK_Q).to(tl.int32) + low
    return low, (index - first) * BLOCK_Q


@triton.jit
def slots_of(block_table, tokens, mask, BLOCK_SIZE: tl.constexpr):
    """Where tokens of a sequence lie in a paged cache."""
    blocks = tl.load(block_table + tokens // BLOCK_SIZE, mask=mask, other=0).to(tl.int64)
    return blocks * BLOCK_SIZE + tokens % BLOCK_SIZE


@triton.jit
def part_of(first, last, SPLITS: tl.constexpr, BLOCK_N: tl.constexpr):
    """A program's part of the tokens first..last: whole tiles, so that no two read the same."""
    size = tl.cdiv(tl.cdiv(last - first, SPLITS), BLOCK_N) * BLOCK_N
    begin = first + tl.program_id(2) * size
    return begin, tl.minimum(begin + size, last)


@triton.jit
def weigh(scores, greatest, total):
    """Weights of a tile's scores, -inf where hidden: (weights, factor of what was before, greatest, total)."""
    new = tl.maximum(greatest, tl.max(scores, 1))
    base = tl.where(new == float("-inf"), 0.0, new)
    weights = tl.exp2(scores - base[:, None])
    factor = tl.exp2(greatest - base)
    return weights, factor, new, total * factor + tl.sum(weights, 1)


@triton.jit
def tanh(x):
    return 1.0 - 2.0 / (tl.exp(2.0 * x) + 1.0)


@triton.jit
def store_part(
    out, lse, attended, greatest, total, rows, heads, valid, columns,
    VALUE_DIM: tl.constexpr, NUM_HEADS: tl.constexpr, SPLITS: tl.constexpr,
):  # fmt: skip
    """out: (T, H, SPLITS, d), the mean over this part; lse: (T, H, SPLITS), its sum's logarithm."""
    places = (rows * NUM_HEADS + heads) * SPLITS + tl.program_id(2)
    divisor = tl.where(total == 0.0, 1.0, total)
    mean = attended / divisor[:, None]
    mask = valid[:, None] & (columns < VALUE_DIM)[None, :]
    pointers = out + places[:, None] * VALUE_DIM + columns[None, :]
    tl.store(pointers, mean.to(out.dtype.element_ty), mask=mask)
    if SPLITS > 1:
        # only of nothing at all is the logarithm -inf: NaN stays
        log = tl.where(total == 0.0, float("-inf"), greatest + tl.log2(divisor))
        tl.store(lse + places, log, mask=valid)
