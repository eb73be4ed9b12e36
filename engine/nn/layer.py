"""The ways in which a layer's parts are joined: one class each."""

from typing import Protocol

from torch import Tensor

from engine.cache.paged_kv import PagedKV
from engine.cache.spec import CacheSpec
from engine.kernels import ops
from engine.nn.config import DecoderConfig
from engine.nn.module import Module
from engine.nn.norm import RMSNorm
from engine.nn.step import Step


class Mixer(Protocol):
    """What moves information between tokens, and what it keeps of them."""

    @property
    def cache_spec(self) -> CacheSpec: ...
    def __call__(self, x: Tensor, step: Step, cache: PagedKV) -> Tensor: ...


class FeedForward(Protocol):
    """What works on each token by itself."""

    def __call__(self, x: Tensor) -> Tensor: ...


class Layer(Protocol):
    @property
    def cache_spec(self) -> CacheSpec: ...
    def __call__(self, x: Tensor, step: Step, cache: PagedKV) -> Tensor: ...


class DecoderLayer(Module):
    """Pre-norm: each part reads a norm of the residual stream and adds to the stream."""

    def __init__(self, c: DecoderConfig, self_attn: Mixer, mlp: FeedForward) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(c.hidden_size, c.rms_norm_eps)
        self.self_attn = self_attn
        self.post_attention_layernorm = RMSNorm(c.hidden_size, c.rms_norm_eps)
        self.mlp = mlp

    @property
    def cache_spec(self) -> CacheSpec:
        return self.self_attn.cache_spec

    def __call__(self, x: Tensor, step: Step, cache: PagedKV) -> Tensor:
        x = ops.add(x, self.self_attn(self.input_layernorm(x), step, cache))
        return ops.add(x, self.mlp(self.post_attention_layernorm(x)))


class SandwichLayer(Module):
    """Gemma's: a norm before each part, and one after it, ahead of the addition."""

    def __init__(self, c: DecoderConfig, self_attn: Mixer, mlp: FeedForward) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(c.hidden_size, c.rms_norm_eps)
        self.self_attn = self_attn
        self.post_attention_layernorm = RMSNorm(c.hidden_size, c.rms_norm_eps)
        self.pre_feedforward_layernorm = RMSNorm(c.hidden_size, c.rms_norm_eps)
        self.mlp = mlp
        self.post_feedforward_layernorm = RMSNorm(c.hidden_size, c.rms_norm_eps)

    @property
    def cache_spec(self) -> CacheSpec:
        return self.self_attn.cache_spec

    def __call__(self, x: Tensor, step: Step, cache: PagedKV) -> Tensor:
        attended = self.self_attn(self.input_layernorm(x), step, cache)
        x = ops.add(x, self.post_attention_layernorm(attended))
        fed = self.mlp(self.pre_feedforward_layernorm(x))
        return ops.add(x, self.post_feedforward_layernorm(fed))
