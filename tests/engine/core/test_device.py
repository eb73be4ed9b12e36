"""What the CPU offers, read from what Linux says of it."""

import os

import pytest
import torch

from engine.core.device import compute_dtype, num_threads


@pytest.mark.parametrize(
    ("flags", "dtype"),
    [
        ("fpu avx512_bf16 sse", torch.bfloat16),
        ("amx_bf16", torch.bfloat16),
        ("fpu avx2 avx512f", torch.float32),
    ],
)
def test_auto_is_bfloat16_where_it_is_fast(tmp_path, flags, dtype):
    """In torch, bfloat16 that the CPU emulates is slower than float32; native kernels have it."""
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\nflags\t\t: {flags}\n")

    assert compute_dtype("auto", cpuinfo, native=False) == dtype
    assert compute_dtype("auto", cpuinfo, native=True) == torch.bfloat16


def test_a_named_dtype_is_taken_at_its_word(tmp_path):
    """Only auto looks at the machine; where nothing is known it stays exact."""
    assert compute_dtype("bfloat16", tmp_path / "none") == torch.bfloat16
    assert compute_dtype("float32") == torch.float32
    assert compute_dtype("auto", tmp_path / "none", native=False) == torch.float32


def test_hyper_threads_count_once(tmp_path):
    """Two threads of one core are one place to compute."""
    for cpu in os.sched_getaffinity(0):
        (tmp_path / f"cpu{cpu}/topology").mkdir(parents=True)
        (tmp_path / f"cpu{cpu}/topology/thread_siblings_list").write_text("0-63\n")

    assert num_threads(tmp_path, tmp_path / "none") == 1


def test_a_containers_quota_bounds_the_threads(tmp_path):
    """More threads than the quota would be stopped in the middle of their work."""
    quota = tmp_path / "cpu.max"
    for text, most in [("100000 100000", 1), ("50000 100000", 1), ("max 100000", 10_000)]:
        quota.write_text(text)
        assert 1 <= num_threads(tmp_path, quota) <= most
