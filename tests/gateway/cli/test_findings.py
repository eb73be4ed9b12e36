from pathlib import Path

import pytest

from gateway.cli import findings
from gateway.config import load_settings
from gateway.gpus import Gpu

GIB = 2**30


@pytest.mark.parametrize(
    ("budget", "available", "lost"),
    [
        (4 * GIB, 8 * GIB, ""),
        (4 * GIB, None, ""),
        (4 * GIB, 2 * GIB, "swap"),
        (GIB // 2, 8 * GIB, "smallest"),
    ],
)
def test_memory(budget, available, lost):
    """That others use is not there for models."""
    found = findings.memory(budget, available)

    assert lost in found.lost
    assert bool(found.lost) == bool(lost) == bool(found.mend)


@pytest.mark.parametrize(
    ("threads", "limit", "mend"),
    [
        (8, None, ""),
        (2, 2.0, ""),
        (8, 2.5, "--threads 2"),
        (8, 0.5, "--threads 1"),
        (1, 0.5, ""),
        (None, 2.0, ""),
    ],
)
def test_more_threads_than_the_container_has_cores(threads, limit, mend):
    """They would wait for each other at every step."""
    assert mend in findings.cores(threads, limit).mend
    assert bool(findings.cores(threads, limit).lost) == bool(mend)


@pytest.mark.parametrize(
    ("text", "limit"), [("200000 100000", 2.0), ("max 100000", None), ("?", None)]
)
def test_the_limit_is_read_as_cgroups_write_it(tmp_path: Path, text, limit):
    """What cannot be read is no limit."""
    (tmp_path / "cpu.max").write_text(text)

    assert findings.cpu_limit(tmp_path / "cpu.max") == limit


def test_no_models_folder_is_wrong(tmp_path: Path):
    """Unless models are found elsewhere."""
    missing = {"models_dir": tmp_path / "none"}

    assert findings.models_folder(load_settings(None, missing, {})).wrong
    with_stores = missing | {"discovery": {"stores": ["ollama"]}}
    assert not findings.models_folder(load_settings(None, with_stores, {})).wrong


def test_a_full_disk_is_told_of(tmp_path: Path):
    """Before a pull finds out."""
    assert findings.disk("d", tmp_path, 100 * GIB).lost == ""
    assert "du" in findings.disk("d", tmp_path, GIB).mend


def test_who_has_the_port():
    """Ours, nobody, or somebody who keeps us from starting."""
    settings = load_settings(None, {}, {})

    assert "answers" in findings.port(settings, {"failures": {}}, is_taken=True).value
    assert "free" in findings.port(settings, None, is_taken=False).value
    assert findings.port(settings, None, is_taken=True).wrong


def test_models_that_fail_are_named():
    """With the server's reason."""
    (found,) = findings.failures({"failures": {"org/broken": "ended early"}})

    assert (found.name, found.value) == ("model org/broken", "ended early")
    assert found.mend
    assert list(findings.failures(None)) == []


def test_a_clock_that_was_never_set():
    """As on small boards after a power cut."""
    assert findings.clock(0).lost
    assert not findings.clock(findings.RELEASED + 1).lost


@pytest.mark.parametrize(
    ("found", "torch_has_them", "value", "is_lost"),
    [
        ([], False, "none", False),
        ([Gpu(0, "GPU-1", "NVIDIA L4", 24_000_000_000, 0)], True, "NVIDIA L4, 24 GB", False),
        ([Gpu(0, "GPU-1", "NVIDIA L4", 24_000_000_000, 0)], False, "NVIDIA L4, 24 GB", True),
    ],
)
def test_gpus_that_torch_cannot_use_are_lost(found, torch_has_them, value, is_lost):
    finding = findings.gpus(found, torch_has_them=torch_has_them)

    assert (finding.value, bool(finding.lost), bool(finding.mend)) == (value, is_lost, is_lost)
