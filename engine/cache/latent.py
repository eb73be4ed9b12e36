"""The paged cache of latent attention as a layer sees it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from engine.cache.spec import IndexedLatent, Latent
from engine.kernels import ops
from engine.kernels.batch import BatchLayout


@dataclass(frozen=True, slots=True, eq=False)
class PagedLatent:
    """One layer's latents: (num_blocks, block_size, dim)."""

    spec: Latent
    latents: Tensor

    @classmethod
    def of(
        cls,
        spec: Latent,
        num_blocks: int,
        block_size: int,
        tensor: Callable[[str, tuple[int, ...]], Tensor],
    ) -> "PagedLatent":
        """Of new tensors, each asked for by name and shape."""
        return cls(spec, tensor("latents", (num_blocks, block_size, spec.dim)))

    @property
    def by_name(self) -> Mapping[str, Tensor]:
        return {"latents": self.latents}

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return (self.latents,)

    @property
    def nbytes(self) -> int:
        return self.latents.nbytes

    def append(self, latent: Tensor, layout: BatchLayout) -> None:
        """Puts the rows' latents, (T, dim), in the layout's slots."""
        ops.latent_write(latent, self.latents, layout)

    def attend(
        self,
        q: Tensor,
        layout: BatchLayout,
        scale: float,
        value_dim: int,
        chosen: Tensor | None = None,
    ) -> Tensor:
        """What each row sees of its sequence, (T, heads, value_dim); its own must be appended.

        chosen: positions that it sees no others than, as in `ops.latent_attention`.
        """
        return ops.latent_attention(
            q, self.latents, layout, scale=scale, value_dim=value_dim, chosen=chosen
        )


@dataclass(frozen=True, slots=True, eq=False)
class PagedIndexedLatent:
    """One layer's latents, and their index keys: (num_blocks, block_size, index_dim)."""

    latents: PagedLatent
    index_keys: Tensor

    @classmethod
    def of(
        cls,
        spec: IndexedLatent,
        num_blocks: int,
        block_size: int,
        tensor: Callable[[str, tuple[int, ...]], Tensor],
    ) -> "PagedIndexedLatent":
        """Of new tensors, each asked for by name and shape."""
        latents = PagedLatent.of(spec, num_blocks, block_size, tensor)
        return cls(latents, tensor("index_keys", (num_blocks, block_size, spec.index_dim)))

    @property
    def by_name(self) -> Mapping[str, Tensor]:
        return {**self.latents.by_name, "index_keys": self.index_keys}

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return *self.latents.tensors, self.index_keys

    @property
    def nbytes(self) -> int:
        return self.latents.nbytes + self.index_keys.nbytes

    def append(self, latent: Tensor, index_key: Tensor, layout: BatchLayout) -> None:
        """Puts the rows' latents, (T, dim), and index keys in the layout's slots."""
        self.latents.append(latent, layout)
        ops.latent_write(index_key, self.index_keys, layout)

    def choose(self, q: Tensor, weights: Tensor, layout: BatchLayout, top_k: int) -> Tensor:
        """What each row is to attend to, as `ops.choose_tokens` says: (T, top_k)."""
        return ops.choose_tokens(q, weights, self.index_keys, layout, top_k)

    def attend(
        self, q: Tensor, layout: BatchLayout, scale: float, value_dim: int, chosen: Tensor
    ) -> Tensor:
        """What each row sees of the chosen tokens, (T, heads, value_dim)."""
        return self.latents.attend(q, layout, scale, value_dim, chosen)
