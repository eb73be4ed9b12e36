"""What an error says about a device, by its type or by its words: torch and Triton have several."""

from collections.abc import Iterator

import torch

from engine.devices import DeviceLost, OutOfDeviceMemory

_STICKY_CODES = frozenset({214, 220, 226, 700, 701, 702, 709, 710, *range(714, 721), 999})
"""Of cudaError_t: uncorrectable memory and links, illegal addresses and instructions, launches that
failed or ran out of time, assertions, and what is unknown."""

_STICKY_WORDS = (
    "illegal memory access",
    "illegal instruction",
    "illegal address",
    "misaligned address",
    "invalid address space",
    "invalid program counter",
    "unspecified launch failure",
    "launch timed out",
    "device-side assert",
    "uncorrectable",
    "hardware stack error",
    "context is destroyed",
    "cudaerrorillegaladdress",
    "unknown error",
)
_DEVICE_WORDS = ("cuda", "hip", "triton")
_MEMORY_WORDS = ("out of memory", "_alloc_failed")


def is_sticky(error: BaseException) -> bool:
    """Whether a device's context is gone, by the error or one that led to it."""
    return any(_is_sticky(each) for each in _chain(error))


def is_out_of_memory(error: BaseException) -> bool:
    """Of a device; what the host lacks is a `MemoryError` of its own."""
    return isinstance(error, OutOfDeviceMemory | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and _speaks_of_a_device(error, _MEMORY_WORDS)
    )


def _is_sticky(error: BaseException) -> bool:
    if isinstance(error, DeviceLost):
        return True
    if not isinstance(error, RuntimeError) or is_out_of_memory(error):
        return False
    code = getattr(error, "error_code", None)  # torch.AcceleratorError has one
    return code in _STICKY_CODES or _speaks_of_a_device(error, _STICKY_WORDS)


def _speaks_of_a_device(error: BaseException, words: tuple[str, ...]) -> bool:
    said = str(error).lower()
    return any(each in said for each in _DEVICE_WORDS) and any(each in said for each in words)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and those that it came of."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
