"""A model's forward as a list of ops: what native step programs are made from."""

import torch

from engine.cache.spec import CacheSpec
from engine.cache.views import CacheSize, CacheView, view_of
from engine.kernels import group as groups
from engine.kernels.batch import BatchLayout, ForwardBatch
from engine.kernels.group import Group
from engine.kernels.trace import OnlyOps, Tape, Traced
from engine.kernels.weight import DENSE, Weight
from engine.nn.model import Model
from engine.nn.module import Matrix, Parameter, Table, join, parameters

_SIZE = CacheSize(num_blocks=4, block_size=16, num_slots=3)


def record(model: Model, num_rows: int, dtype: torch.dtype, num_sequences: int = 2) -> Tape:
    """Runs the forward of a built, unloaded model with tensors that hold no data.

    As many logits are wanted as there are sequences, and a parameter's label is its path.
    Its parameters are such tensors afterwards. Raises `UnrecordableError` where the forward does
    anything but call ops.
    """
    tape = Tape()
    for parameter in parameters(model):
        parameter.set(_parameter(parameter, tape, dtype))
    join(model, Group(token=tape.tensor(groups.LABEL, (0,), torch.float32)))
    caches = [_cache(index, spec, tape, dtype) for index, spec in enumerate(model.cache_specs)]
    batch = _batch(tape, num_rows, num_sequences)
    with OnlyOps():
        model.forward(batch, caches)
    return tape


def _parameter(parameter: Parameter, tape: Tape, dtype: torch.dtype) -> Weight | Traced:
    slot, path = parameter.slot, parameter.path
    if isinstance(slot, Matrix):
        kept = torch.float32 if slot.wide else dtype
        shape = slot.weight_shape
        return Weight(DENSE, shape, tape.tensor(path, shape, kept), kept)
    if isinstance(slot, Table):
        return tape.tensor(path, [len(slot.values)], torch.float32)
    return tape.tensor(path, slot.shape, torch.float32 if slot.wide else dtype)


def _cache(index: int, spec: CacheSpec, tape: Tape, dtype: torch.dtype) -> CacheView:
    def tensor(name: str, shape: tuple[int, ...], kept: torch.dtype) -> Traced:
        return tape.tensor(f"cache.{index}.{name}", shape, kept)

    return view_of(spec, _SIZE, dtype, tensor)


def _batch(tape: Tape, num_rows: int, num_sequences: int) -> ForwardBatch:
    def ids(name: str, *shape: int) -> Traced:
        return tape.tensor(name, shape, torch.int64)

    layout = BatchLayout(
        query_starts=ids("query_starts", num_sequences + 1),
        context_lens=ids("context_lens", num_sequences),
        block_tables=ids("block_tables", num_sequences, _SIZE.num_blocks),
        slots=ids("slots", num_rows),
        state_reads=ids("state_reads", num_sequences),
        state_writes=ids("state_writes", num_sequences),
        block_size=_SIZE.block_size,
    )
    token_ids, positions = ids("token_ids", num_rows), ids("positions", num_rows)
    lengths, logit_rows = ids("lengths", num_rows), ids("logit_rows", num_sequences)
    segments = ids("segments", num_rows)
    return ForwardBatch(token_ids, positions, lengths, logit_rows, layout, segments)
