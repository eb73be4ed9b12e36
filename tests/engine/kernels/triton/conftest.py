"""With ROUNDHOUSE_GPU_TESTS set, kernels run on a GPU instead of in the interpreter.

Tests make their tensors on the CPU all the same: each launch has copies of them, and brings back what it wrote.
"""

import os
from typing import Any

import pytest
import torch
from torch import Tensor


class Copies:
    """Of tensors on a GPU, with all that their storage holds: kernels read them by strides of their own."""

    def __init__(self) -> None:
        self._storages: dict[int, tuple[Tensor, Tensor]] = {}

    def of(self, value: Any) -> Any:
        if not isinstance(value, Tensor) or value.device.type != "cpu":
            return value
        storage = value.untyped_storage()
        if storage.data_ptr() not in self._storages:
            whole = torch.empty(0, dtype=torch.uint8).set_(storage)
            self._storages[storage.data_ptr()] = whole, whole.cuda()
        _, there = self._storages[storage.data_ptr()]
        empty = torch.empty(0, dtype=value.dtype, device=there.device)
        return empty.set_(
            there.untyped_storage(), value.storage_offset(), value.shape, value.stride()
        )

    def bring_back(self) -> None:
        for here, there in self._storages.values():
            here.copy_(there)


def on_gpu(run: Any) -> Any:
    def launch(kernel: Any, *args: Any, **kwargs: Any) -> Any:
        copies = Copies()
        moved = [copies.of(value) for value in args]
        result = run(kernel, *moved, **{name: copies.of(value) for name, value in kwargs.items()})
        copies.bring_back()
        return result

    return launch


@pytest.fixture(autouse=True)
def device(monkeypatch: pytest.MonkeyPatch) -> None:
    if "ROUNDHOUSE_GPU_TESTS" in os.environ:
        from triton.runtime.jit import JITFunction

        monkeypatch.setattr(JITFunction, "run", on_gpu(JITFunction.run))
