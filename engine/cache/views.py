"""A layer's view of its cache, made of what the layer declares."""

from collections.abc import Callable

import torch
from torch import Tensor

from engine.cache.latent import PagedIndexedLatent, PagedLatent
from engine.cache.paged_kv import PagedKV
from engine.cache.spec import CacheSpec, IndexedLatent, Latent

CacheView = PagedKV | PagedLatent | PagedIndexedLatent


def view_of(
    spec: CacheSpec,
    num_blocks: int,
    block_size: int,
    tensor: Callable[[str, tuple[int, ...]], Tensor],
) -> CacheView:
    """Of new tensors, each asked for by name and shape."""
    if isinstance(spec, IndexedLatent):
        return PagedIndexedLatent.of(spec, num_blocks, block_size, tensor)
    if isinstance(spec, Latent):
        return PagedLatent.of(spec, num_blocks, block_size, tensor)
    return PagedKV.of(spec, num_blocks, block_size, tensor)


def allocate(
    spec: CacheSpec,
    num_blocks: int,
    block_size: int,
    dtype: torch.dtype,
    device: torch.device | str = "cpu",
) -> CacheView:
    """An empty cache; all of it is resident from here on."""

    def zeros(_: str, shape: tuple[int, ...]) -> Tensor:
        return torch.zeros(shape, dtype=dtype, device=device)

    return view_of(spec, num_blocks, block_size, zeros)
