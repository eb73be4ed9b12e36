"""A pull may be killed at any step: nobody sees half a model, and the next pull mends it."""

import multiprocessing
import signal
from pathlib import Path

import pytest

import killed_pull
from gateway.catalog.scan import find_checkpoints
from gateway.hub.reports import Report, Waiting
from hub_server import Held
from tests.gateway.hub.conftest import FOLDER

NEWER = FOLDER | {"generation_config.json": b'{"top_k": 3}', "tokenizer_config.json": b"{}"}
_processes = multiprocessing.get_context("fork")
"""Forty of them in a second; each ends without touching the server's thread."""

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")


def pull_until(url: str, models: Path, name: str, step: int) -> bool:
    """Pulls in a process that kills itself at its `step`th report; whether it lived to its end."""
    process = _processes.Process(target=killed_pull.pull, args=(url, models, name, step))
    process.start()
    process.join()
    assert process.exitcode in {0, -signal.SIGKILL}
    return process.exitcode == 0


def seen(models: Path) -> dict[str, bytes]:
    """What a scan finds: the files of its one model, or nothing."""
    found = find_checkpoints(models)
    if not found:
        return {}
    assert [checkpoint.id for checkpoint in found] == ["org/folder"]
    return {path.name: path.read_bytes() for path in found[0].path.iterdir() if path.is_file()}


def test_killed_at_every_step_it_is_whole_or_unseen(hub, pull, models):
    """First of one revision from nothing, then of the next over it; each pull goes on from the last."""
    for files, before in ((FOLDER, {}), (NEWER, FOLDER)):
        hub.add("org/folder", files)
        step = 0
        while not pull_until(hub.url, models, "org/folder", step):
            assert seen(models) in ({}, before, files)
            step += 1
        assert seen(models) == files
        assert step >= 3
    assert pull.partial() == []


@pytest.mark.slow
def test_killed_at_any_step_the_next_mends_it(hub, models, tmp_path):
    """Each step from nothing: what the killed pull left, one that is not killed makes whole."""
    step = 0
    is_alive = False
    while not is_alive:
        folder = tmp_path / f"models-{step}"
        folder.mkdir()
        is_alive = pull_until(hub.url, folder, "org/folder", step)
        assert seen(folder) in ({}, FOLDER)
        assert pull_until(hub.url, folder, "org/folder", 1000)
        assert seen(folder) == FOLDER
        step += 1
    assert step > 10


def test_one_pulls_and_the_other_waits(hub, pull, models):
    """Then it finds everything there."""
    held = Held("model.safetensors", after=1000)
    hub.faults.append(held)
    first = _processes.Process(target=killed_pull.pull, args=(hub.url, models, "org/folder", 1000))
    first.start()
    assert held.reached.wait(20)

    def tell(report: Report) -> None:
        if isinstance(report, Waiting):
            held.go.set()

    done = pull("org/folder", tell)

    first.join()
    assert first.exitcode == 0
    assert done.fetched_bytes == 0
    assert sum(path.startswith("/cdn/") for _, path, _ in hub.asked) == 1
