"""A step's tokens, flattened over its sequences, as kernels and models see them."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class BatchLayout:
    """Where each row of a batch stands in its sequence and in the paged cache.

    For B sequences and T rows in all (all int64, on the model's device):

    query_starts: (B + 1,) first row of each sequence; the last entry is T
    context_lens: (B,) tokens of each sequence in the cache once this step's are appended
    block_tables: (B, max_blocks) physical blocks in order; unused entries are 0
    slots: (T,) physical place of each row: block * block_size + offset; -1 without blocks
    state_reads: (B,) slot of each sequence's recurrent state before this step; -1 where it begins
    state_writes: (B,) slot that its state is left in; a slot that is written is no other's,
    and -1 stands for none in a model without states
    longest_query, longest_context: upper bounds, known without looking at a device: of the rows of a
    sequence and of context_lens. 0 where nobody has said; a kernel that needs one then looks.

    A batch that was filled up to a fixed size has rows whose slot is -1: they are written nowhere. Its
    further sequences have no rows, or context_lens 0, and state_writes -1: what is computed of them means
    nothing, and nothing is left of it.
    """

    query_starts: Tensor
    context_lens: Tensor
    block_tables: Tensor
    slots: Tensor
    state_reads: Tensor
    state_writes: Tensor
    block_size: int
    longest_query: int = 0
    longest_context: int = 0


@dataclass(frozen=True, slots=True)
class ForwardBatch:
    """One forward's input.

    token_ids, positions: (T,) int64. lengths: (T,) int64, tokens of each row's sequence as far as
    they are known: a prompt's still to come count. logit_rows: (R,) int64, the rows whose logits
    are wanted. segments: (T,) int64, for encoders: 1 for the rows of a pair's second text, else 0.
    """

    token_ids: Tensor
    positions: Tensor
    lengths: Tensor
    logit_rows: Tensor
    layout: BatchLayout
    segments: Tensor | None = None
