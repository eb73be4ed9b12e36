"""Every op: its shape rule against what the torch reference really gives."""

import pytest
import torch

from engine.kernels import ops, registry
from engine.kernels.trace import Tape, Traced
from engine.kernels.weight import Weight
from tests.engine.batches import layout_of

T, HEADS, KV_HEADS, DIM, HIDDEN, VOCAB, BLOCKS, BLOCK = 5, 4, 2, 6, 24, 11, 3, 4


def arguments() -> dict[str, list]:
    """Good arguments for every op."""
    x, ids = torch.randn(T, HIDDEN), torch.arange(T)
    q, kv = torch.randn(T, HEADS, DIM), torch.randn(T, KV_HEADS, DIM)
    cache = torch.zeros(BLOCKS, BLOCK, KV_HEADS, DIM)
    layout = layout_of([T], [T], torch.arange(BLOCKS)[None], BLOCK)
    return {
        "embedding": [ids, Weight.dense(torch.randn(VOCAB, HIDDEN))],
        "linear": [x, Weight.dense(torch.randn(VOCAB, HIDDEN)), torch.randn(VOCAB)],
        "logits": [x, Weight.dense(torch.randn(VOCAB, HIDDEN).bfloat16())],
        "rms_norm": [x, torch.randn(HIDDEN), 1e-6],
        "rope_table": [ids, torch.rand(DIM // 2), 1.0],
        "rope": [q, torch.randn(T, 2, DIM // 2)],
        "split_heads": [x, HEADS],
        "merge_heads": [q],
        "cache_write": [kv, kv, cache, cache.clone(), layout],
        "paged_attention": [q, cache, cache, layout],
        "silu_mul": [x, x],
        "gelu_tanh_mul": [x, x],
        "add": [x, x.bfloat16()],
        "scale": [x, 2.0],
        "softcap": [x, 3.0],
        "select_rows": [x, torch.tensor([3, 0])],
    }


def traced(value, tape: Tape):
    if isinstance(value, torch.Tensor):
        return tape.tensor("input", value.shape, value.dtype)
    if isinstance(value, Weight):
        return Weight(value.format, value.shape, traced(value.data, tape), value.dtype)
    return value


def test_arguments_cover_the_vocabulary():
    """A new op must be added to these tests."""
    assert arguments().keys() == ops.OPS.keys()


@pytest.mark.parametrize("name", sorted(ops.OPS))
def test_the_shape_rule_holds(name):
    """What a recording says of a result is what the kernel gives."""
    settings = {"scale": 0.5} if name == "paged_attention" else {}
    tape, given = Tape(), arguments()[name]
    real = ops.OPS[name](*given, **settings)
    recorded = ops.OPS[name](*(traced(value, tape) for value in given), **settings)

    assert [call.op for call in tape.calls] == [name]
    if real is None:
        assert recorded is None
    else:
        assert isinstance(recorded, Traced)
        assert (recorded.shape, recorded.dtype) == (real.shape, real.dtype)


@pytest.mark.parametrize("name", sorted(ops.OPS))
def test_every_op_has_a_contract_and_a_reference(name):
    """The vocabulary is complete: documented, and computable anywhere."""
    assert ops.OPS[name].__doc__
    assert registry.find(name, weight_format="Q4_K", device="meta")
