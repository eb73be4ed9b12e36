"""Makes Triton's kernels those of a device type."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from engine.kernels.registry import register

MODULES: tuple[str, ...] = (
    "attention",
    "cache",
    "conv",
    "delta",
    "drawn",
    "elementwise",
    "encoder",
    "experts",
    "heads",
    "indexer",
    "latent",
    "linear_attention",
    "matrices",
    "norms",
    "rope",
    "routing",
    "rwkv",
    "selective_scan",
    "ssd",
    "streams",
)
"""Each has KERNELS, by op or fused op, or WEIGHT_KERNELS, by op and weight format, or both."""


def is_available() -> bool:
    """Whether there is a Triton; without it every op has torch's kernels."""
    return find_spec("triton") is not None


def install(device: str = "cuda") -> None:
    """Registers all kernels. device: "cpu" runs them in the interpreter, in tests."""
    for name in MODULES:
        module: Any = import_module(f"engine.kernels.triton.{name}")
        for op, kernel in getattr(module, "KERNELS", {}).items():
            register(op, device=device)(kernel)
        for (op, weight_format), kernel in getattr(module, "WEIGHT_KERNELS", {}).items():
            register(op, weight_format=weight_format, device=device)(kernel)
