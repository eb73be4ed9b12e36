import torch

from engine.cache.latent import PagedIndexedLatent, PagedLatent
from engine.cache.spec import IndexedLatent, Latent
from engine.cache.views import CacheSize, allocate
from tests.engine.batches import layout_of

LAYOUT = layout_of([6], [6], torch.tensor([[1, 0]]), 4)


def test_memory_is_what_the_spec_says():
    """The ledger counts what is really allocated."""
    spec = Latent(dim=10)
    cache = allocate(spec, CacheSize(3, 4, 0), torch.bfloat16)

    assert cache.nbytes == 3 * 4 * spec.bytes_per_token(2)


def test_what_is_appended_is_attended():
    """With one token in the cache every head gets that token's latent."""
    cache = allocate(Latent(8), CacheSize(2, 4, 0), torch.float32)
    assert isinstance(cache, PagedLatent)
    latent, q = torch.randn(6, 8), torch.randn(6, 2, 8)
    cache.append(latent, LAYOUT)
    attended = cache.attend(q, LAYOUT, 1.0, value_dim=5)

    assert torch.allclose(attended[0], latent[0, :5].expand(2, 5))


def test_an_indexed_latent_keeps_both():
    """Memory for two vectors a token, and a choice by the second of what is seen of the first."""
    spec = IndexedLatent(dim=8, index_dim=4)
    cache = allocate(spec, CacheSize(2, 4, 0), torch.float32)
    assert isinstance(cache, PagedIndexedLatent)
    latent, index_keys = torch.randn(6, 8), torch.eye(6, 4)
    cache.append(latent, index_keys, LAYOUT)
    index_q = torch.eye(4)[[0, 1, 2, 3, 1, 1]][:, None]
    chosen = cache.choose(index_q, torch.ones(6, 1), LAYOUT, top_k=1)
    attended = cache.attend(torch.randn(6, 2, 8), LAYOUT, 1.0, value_dim=5, chosen=chosen)

    assert cache.nbytes == 2 * 4 * spec.bytes_per_token(4)
    assert chosen.flatten().tolist() == [0, 1, 2, 3, 1, 1]
    assert torch.allclose(attended[:, 0], latent[[0, 1, 2, 3, 1, 1], :5])
