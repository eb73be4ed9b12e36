"""What errors say about a device."""

import pytest
import torch

from engine.api import Failure
from engine.core.failures import failure_of, must_end
from engine.devices import DeviceLost, OutOfDeviceMemory
from engine.devices.errors import is_out_of_memory, is_sticky


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def coded(code: int) -> Exception:
    error = torch.AcceleratorError("CUDA error")
    error.error_code = code
    return error


STICKY = [
    DeviceLost("it is gone"),
    RuntimeError("CUDA error: an illegal memory access was encountered"),
    RuntimeError("Triton Error [CUDA]: misaligned address"),
    RuntimeError("HIP error: unspecified launch failure"),
    RuntimeError("CUDA error: device-side assert triggered"),
    coded(700),
    caused(ValueError("a step failed"), DeviceLost("it is gone")),
]
NOT_STICKY = [
    OutOfDeviceMemory("no 5 bytes are left"),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("CUDA error: invalid argument"),
    RuntimeError("an illegal memory access of our own tale"),
    ValueError("CUDA error: an illegal memory access was encountered"),
    coded(1),
    MemoryError(),
]


@pytest.mark.parametrize("error", STICKY, ids=repr)
def test_a_context_that_is_gone_ends_the_process(error):
    """By type, code or words, also where another error hides it."""
    assert is_sticky(error)
    assert must_end(error)


@pytest.mark.parametrize("error", NOT_STICKY, ids=repr)
def test_all_else_can_be_lived_with(error):
    """Memory that is short most of all."""
    assert not must_end(error)


@pytest.mark.parametrize(
    "error",
    [
        OutOfDeviceMemory("no 5 bytes are left"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"),
        RuntimeError("CUDA error: out of memory"),
    ],
    ids=repr,
)
def test_memory_that_is_short_is_told_as_such(error):
    """Whoever of torch's libraries says so."""
    assert is_out_of_memory(error)
    assert failure_of(error) == Failure("out_of_memory", "the device ran out of memory")


def test_an_error_that_is_its_own_cause_ends_the_search():
    """Chains may be circles."""
    one, other = RuntimeError("one"), RuntimeError("other")
    one.__context__, other.__context__ = other, one

    assert not is_sticky(one)
