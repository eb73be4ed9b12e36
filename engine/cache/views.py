"""A layer's view of its cache, made of what the layer declares."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from engine.cache.latent import PagedIndexedLatent, PagedLatent
from engine.cache.paged_kv import PagedKV
from engine.cache.spec import Both, CacheSpec, IndexedLatent, Latent, State
from engine.cache.states import SlottedState, TokensAndState
from engine.kernels.pages import zero_pages

TokenView = PagedKV | PagedLatent | PagedIndexedLatent
CacheView = TokenView | SlottedState | TokensAndState

MakeTensor = Callable[[str, tuple[int, ...], torch.dtype], Tensor]


@dataclass(frozen=True, slots=True)
class CacheSize:
    """How much all layers of a model can keep: of tokens, and of sequences."""

    num_blocks: int
    block_size: int
    num_slots: int


def view_of(spec: CacheSpec, size: CacheSize, dtype: torch.dtype, tensor: MakeTensor) -> CacheView:
    """Of new tensors, each asked for by name, shape and dtype; dtype: that of what tokens leave."""

    def tokens(spec: CacheSpec) -> TokenView:
        def made(name: str, shape: tuple[int, ...]) -> Tensor:
            return tensor(name, shape, dtype)

        if isinstance(spec, IndexedLatent):
            return PagedIndexedLatent.of(spec, size.num_blocks, size.block_size, made)
        if isinstance(spec, Latent):
            return PagedLatent.of(spec, size.num_blocks, size.block_size, made)
        assert not isinstance(spec, State | Both)
        kept = spec.dtype_of(dtype)
        return PagedKV.of(
            spec, size.num_blocks, size.block_size, lambda name, shape: tensor(name, shape, kept)
        )

    def state(spec: State) -> SlottedState:
        return SlottedState.of(
            spec, size.num_slots, lambda name, shape: tensor(name, shape, torch.float32)
        )

    if isinstance(spec, Both):
        return TokensAndState(tokens(spec.tokens), state(spec.state))
    return state(spec) if isinstance(spec, State) else tokens(spec)


def shapes_of(
    specs: Iterable[CacheSpec], size: CacheSize, dtype: torch.dtype
) -> list[tuple[tuple[int, ...], torch.dtype]]:
    """Of all tensors of the layers' views, in the order in which `view_of` asks for them."""
    found = []

    def asked(_: str, shape: tuple[int, ...], kept: torch.dtype) -> Tensor:
        found.append((shape, kept))
        return torch.empty(shape, dtype=kept, device="meta")

    for spec in specs:
        view_of(spec, size, dtype, asked)
    return found


def parts_of(view: CacheView) -> Iterator[TokenView | SlottedState]:
    """What it keeps of tokens, by block, and of states, by slot."""
    if isinstance(view, TokensAndState):
        yield view.tokens
        yield view.state
    else:
        yield view


def state_bytes(view: CacheView) -> int:
    """Of a view's bytes, those of states."""
    state = view.state if isinstance(view, TokensAndState) else view
    return state.nbytes if isinstance(state, SlottedState) else 0


def allocate(
    spec: CacheSpec, size: CacheSize, dtype: torch.dtype, device: torch.device | str = "cpu"
) -> CacheView:
    """An empty cache. On a CPU the system gives its pages, which are zeros, as they are written."""

    def zeros(_: str, shape: tuple[int, ...], kept: torch.dtype) -> Tensor:
        if torch.device(device).type != "cpu":
            return torch.zeros(shape, dtype=kept, device=device)
        return zero_pages(prod(shape) * kept.itemsize).view(kept).view(shape)

    return view_of(spec, size, dtype, zeros)
