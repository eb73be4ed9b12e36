from types import SimpleNamespace

import pytest

from gateway.gpus import Gpu, gpus_here, torch_has_gpus, visible

UUIDS = ["GPU-aa01", "GPU-aa02", "GPU-bb03"]


class NVMLError(Exception):
    pass


class Nvml:
    """A driver with these GPUs, which says bytes where older bindings do."""

    NVMLError = NVMLError

    def __init__(self, uuids=UUIDS, *, fails_at="") -> None:
        self.uuids, self.fails_at, self.num_open = uuids, fails_at, 0

    def _ask(self, what):
        if what == self.fails_at:
            raise NVMLError

    def nvmlInit(self):  # noqa: N802  # NVML's names
        self._ask("init")
        self.num_open += 1

    def nvmlShutdown(self):  # noqa: N802
        self.num_open -= 1

    def nvmlDeviceGetCount(self):  # noqa: N802
        return len(self.uuids)

    def nvmlDeviceGetHandleByIndex(self, index):  # noqa: N802
        self._ask("handle")
        return index

    def nvmlDeviceGetUUID(self, handle):  # noqa: N802
        return self.uuids[handle].encode()

    def nvmlDeviceGetName(self, handle):  # noqa: N802
        return f"GPU number {handle}"

    def nvmlDeviceGetMemoryInfo(self, handle):  # noqa: N802
        return SimpleNamespace(total=handle + 10, free=handle + 1)


def test_gpus_are_found_in_the_order_that_they_may_be_used_in():
    nvml = Nvml()

    found = gpus_here({"CUDA_VISIBLE_DEVICES": "2,0"}, nvml)

    assert found == [
        Gpu(0, "GPU-bb03", "GPU number 2", 12, 3),
        Gpu(1, "GPU-aa01", "GPU number 0", 10, 1),
    ]
    assert nvml.num_open == 0


@pytest.mark.parametrize("fails_at", ["init", "handle"])
def test_no_driver_is_no_gpu(fails_at):
    """Nor is one that fails; it is let go of all the same."""
    nvml = Nvml(fails_at=fails_at)

    assert gpus_here({}, nvml) == []
    assert nvml.num_open == 0


@pytest.mark.parametrize(
    ("allowed", "expected"),
    [
        (None, [0, 1, 2]),
        ("", []),
        ("1", [1]),
        ("1, 0", [1, 0]),
        ("GPU-bb03,0", [2, 0]),
        ("GPU-b", [2]),
        ("GPU-aa", []),
        ("0,7,1", [0]),
        ("0,-1,1", [0]),
        ("0,0", [0]),
    ],
)
def test_what_cuda_would_show(allowed, expected):
    """It stops at the first that is none, that is not one, or that was there before."""
    assert visible(UUIDS, allowed) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "__version__ = '2.13.0+cu130'\ncuda: Optional[str] = '13.0'\nhip: Optional[str] = None\n",
            True,
        ),
        (
            "__version__ = '2.13.0+cpu'\ncuda: Optional[str] = None\nhip: Optional[str] = None\n",
            False,
        ),
        ("cuda: Optional[str] = None\nhip: Optional[str] = '7.1'\n", True),
        ("", False),
    ],
)
def test_what_torch_was_built_for(tmp_path, text, expected):
    (tmp_path / "version.py").write_text(text)

    assert torch_has_gpus(tmp_path / "version.py") is expected


def test_the_installed_torch():
    """As torch itself says."""
    import torch

    assert torch_has_gpus() == (torch.version.cuda is not None or torch.version.hip is not None)
