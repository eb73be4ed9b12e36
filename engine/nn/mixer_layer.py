from typing import Any

from torch import Tensor

from engine.cache.spec import CacheSpec
from engine.kernels import ops
from engine.nn.config import BaseConfig
from engine.nn.layer import Mixer, rms_norm
from engine.nn.module import Module
from engine.nn.step import Step


class MixerLayer(Module):
    """Mamba's: one part, that reads a norm of the residual stream and adds to the stream."""

    def __init__(self, c: BaseConfig, mixer: Mixer) -> None:
        super().__init__()
        self.norm = rms_norm(c)
        self.mixer = mixer

    @property
    def cache_spec(self) -> CacheSpec:
        return self.mixer.cache_spec

    def __call__(self, x: Tensor, step: Step, cache: Any) -> Tensor:
        return ops.add(x, self.mixer(self.norm(x), step, cache))
