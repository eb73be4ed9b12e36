"""The ways in which a layer's parts are joined: one class each."""

from collections.abc import Callable
from typing import Any, Protocol

from torch import Tensor

from engine.cache.spec import CacheSpec
from engine.kernels import ops
from engine.nn.config import BaseConfig
from engine.nn.module import Module
from engine.nn.norm import RMSNorm
from engine.nn.step import Step


class Mixer(Protocol):
    """What moves information between tokens, and what it keeps of them.

    cache: the view of what its `cache_spec` declares; each mixer knows its own.
    """

    @property
    def cache_spec(self) -> CacheSpec: ...
    def __call__(self, x: Tensor, step: Step, cache: Any) -> Tensor: ...


class FeedForward(Protocol):
    """What works on each token by itself; norms, too, are such."""

    def __call__(self, x: Tensor) -> Tensor: ...


class Layer(Protocol):
    @property
    def cache_spec(self) -> CacheSpec: ...
    def __call__(self, x: Tensor, step: Step, cache: Any) -> Tensor: ...


MakeNorm = Callable[[BaseConfig], FeedForward]
"""Makes a norm of the residual stream."""


def rms_norm(c: BaseConfig) -> RMSNorm:
    return RMSNorm(c.hidden_size, c.rms_norm_eps)


class DecoderLayer(Module):
    """Pre-norm: each part reads a norm of the residual stream and adds to the stream.

    residual_scale: factor on what is added.
    """

    def __init__(
        self,
        c: BaseConfig,
        self_attn: Mixer,
        mlp: FeedForward,
        *,
        residual_scale: float | None = None,
        norm: MakeNorm = rms_norm,
    ) -> None:
        super().__init__()
        self.input_layernorm = norm(c)
        self.self_attn = self_attn
        self.post_attention_layernorm = norm(c)
        self.mlp = mlp
        self._residual_scale = residual_scale

    @property
    def cache_spec(self) -> CacheSpec:
        return self.self_attn.cache_spec

    def __call__(self, x: Tensor, step: Step, cache: Any) -> Tensor:
        x = self._add(x, self.self_attn(self.input_layernorm(x), step, cache))
        return self._add(x, self.mlp(self.post_attention_layernorm(x)))

    def _add(self, x: Tensor, y: Tensor) -> Tensor:
        return ops.add(x, ops.scale(y, self._residual_scale) if self._residual_scale else y)


class ParallelLayer(Module):
    """Phi's: both parts read one norm of the residual stream."""

    def __init__(
        self,
        c: BaseConfig,
        self_attn: Mixer,
        mlp: FeedForward,
        *,
        norm: MakeNorm,
    ) -> None:
        super().__init__()
        self.input_layernorm = norm(c)
        self.self_attn = self_attn
        self.mlp = mlp

    @property
    def cache_spec(self) -> CacheSpec:
        return self.self_attn.cache_spec

    def __call__(self, x: Tensor, step: Step, cache: Any) -> Tensor:
        normed = self.input_layernorm(x)
        attended = self.self_attn(normed, step, cache)
        return ops.add(ops.add(x, attended), self.mlp(normed))


class PostNormLayer(Module):
    """OLMo 2's: each part reads the residual stream as it is, and a norm of it is added."""

    def __init__(self, c: BaseConfig, self_attn: Mixer, mlp: FeedForward) -> None:
        super().__init__()
        self.self_attn = self_attn
        self.post_attention_layernorm = rms_norm(c)
        self.mlp = mlp
        self.post_feedforward_layernorm = rms_norm(c)

    @property
    def cache_spec(self) -> CacheSpec:
        return self.self_attn.cache_spec

    def __call__(self, x: Tensor, step: Step, cache: Any) -> Tensor:
        x = ops.add(x, self.post_attention_layernorm(self.self_attn(x, step, cache)))
        return ops.add(x, self.post_feedforward_layernorm(self.mlp(x)))


class SandwichLayer(Module):
    """Gemma's: a norm before each part, and one after it, ahead of the addition."""

    def __init__(self, c: BaseConfig, self_attn: Mixer, mlp: FeedForward) -> None:
        super().__init__()
        self.input_layernorm = rms_norm(c)
        self.self_attn = self_attn
        self.post_attention_layernorm = rms_norm(c)
        self.pre_feedforward_layernorm = rms_norm(c)
        self.mlp = mlp
        self.post_feedforward_layernorm = rms_norm(c)

    @property
    def cache_spec(self) -> CacheSpec:
        return self.self_attn.cache_spec

    def __call__(self, x: Tensor, step: Step, cache: Any) -> Tensor:
        attended = self.self_attn(self.input_layernorm(x), step, cache)
        x = ops.add(x, self.post_attention_layernorm(attended))
        return ops.add(x, self.post_feedforward_layernorm(self.feed(x)))

    def feed(self, x: Tensor) -> Tensor:
        """What of x the last norm is given."""
        return self.mlp(self.pre_feedforward_layernorm(x))
