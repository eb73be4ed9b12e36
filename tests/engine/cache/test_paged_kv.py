import torch

from engine.cache.spec import KV
from engine.cache.views import CacheSize, allocate
from tests.engine.batches import layout_of

LAYOUT = layout_of([6], [6], torch.tensor([[1, 0]]), 4)


def test_memory_is_what_the_spec_says():
    """The ledger counts what is really allocated."""
    spec = KV(num_heads=2, head_dim=8)
    cache = allocate(spec, CacheSize(3, 4, 0), torch.bfloat16)

    assert cache.nbytes == 3 * 4 * spec.bytes_per_token(2)


def test_what_is_appended_is_attended():
    """With one token in the cache a row gets that token's value."""
    cache = allocate(KV(1, 8), CacheSize(2, 4, 0), torch.float32)
    k, v, q = torch.randn(6, 1, 8), torch.randn(6, 1, 8), torch.randn(6, 2, 8)
    cache.append(k, v, LAYOUT)
    attended = cache.attend(q, LAYOUT, 1.0)

    assert torch.allclose(attended[0], v[0].expand(2, 8))


def test_the_spec_s_window_applies():
    """A window of one token leaves each row its own value."""
    cache = allocate(KV(1, 8, window=1), CacheSize(2, 4, 0), torch.float32)
    k, v, q = torch.randn(6, 1, 8), torch.randn(6, 1, 8), torch.randn(6, 1, 8)
    cache.append(k, v, LAYOUT)

    assert torch.allclose(cache.attend(q, LAYOUT, 1.0), v)
