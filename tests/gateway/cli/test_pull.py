import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from gateway.cli.pulling import Bars
from gateway.hub.reports import Done, Planned, Progress, Retrying, Verifying, Waiting
from hub_server import HubServer

FILES = {"m-Q4_K_M.gguf": b"GGUF" * 50_000, "m-Q8_0.gguf": b"GGUFGGUF"}
DONE = Done(
    model="org/m", repo="org/m", revision="main", commit="c" * 40, path="p", files=["a"],
    total_bytes=100, fetched_bytes=100,
)  # fmt: skip


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with HubServer() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        server.add("org/m", FILES)
        yield server


def test_lines_tell_of_a_pull(hub, roundhouse, tmp_path):
    """What has to come, how far it is, and the name to ask for."""
    first = roundhouse("pull", "org/m", "--models-dir", str(tmp_path)).splitlines()
    again = roundhouse("pull", "org/m", "--models-dir", str(tmp_path)).splitlines()

    commit = hub.repositories["org/m"].commit[:7]
    assert first[0] == "org/m: 200 kB of 200 kB to come, one file"
    assert first[-1] == f"org/m: pulled (200 kB, {commit}), served as org/m/m-Q4_K_M"
    assert again == [f"org/m: up to date (200 kB, {commit}), served as org/m/m-Q4_K_M"]


def test_programs_get_json(hub, roundhouse, tmp_path):
    """One entry for each, with the id that it is served by."""
    text = roundhouse(
        "pull", "org/m", "org/m:q8_0", "--json", "--models-dir", str(tmp_path / "new")
    )

    pulled = json.loads(text)
    assert [entry["model"] for entry in pulled] == ["org/m/m-Q4_K_M", "org/m/m-Q8_0"]
    assert pulled[1]["files"] == ["m-Q8_0.gguf"]
    assert Path(pulled[1]["path"]).read_bytes() == FILES["m-Q8_0.gguf"]


def test_a_configuration_says_where(hub, roundhouse, tmp_path, monkeypatch):
    """As the chart's init container has it: the file alone, which is JSON."""
    monkeypatch.delenv("HF_ENDPOINT")
    config = tmp_path / "roundhouse.json"
    settings = {"models_dir": str(tmp_path / "models"), "hub": {"endpoint": hub.url}}
    config.write_text(json.dumps(settings))
    roundhouse("pull", "--config", str(config), "org/m:Q8_0")

    assert (tmp_path / "models/org/m/m-Q8_0.gguf").exists()


def test_errors_say_what_to_do(hub, roundhouse, tmp_path):
    """A name is refused before the hub is asked of any."""
    for name, advice in (("m", "org/name:Q4_K_M"), ("org/m:Q2_K", "ask for one of Q4_K_M, Q8_0")):
        with pytest.raises(SystemExit, match=advice):
            roundhouse("pull", name, "--models-dir", str(tmp_path))
    with pytest.raises(SystemExit):
        roundhouse("pull", "org/m", "nonsense", "--models-dir", str(tmp_path))
    assert hub.downloads() == []


def test_models_are_removed(hub, roundhouse, tmp_path):
    """By any name that the server knows them by; without a terminal only with --yes."""
    folder = ("--models-dir", str(tmp_path))
    roundhouse("pull", "org/m", "org/m:Q8_0", *folder)
    with pytest.raises(SystemExit, match="--yes"):
        roundhouse("rm", "org/m:q8_0", *folder)
    with pytest.raises(SystemExit, match=r"has org/m/m-Q4_K_M, org/m/m-Q8_0"):
        roundhouse("rm", "nothing", "--yes", *folder)

    assert roundhouse("rm", "org/m:q8_0", "--yes", *folder) == (
        "Removed org/m/m-Q8_0: 8 B are free again.\n"
    )
    freed = json.loads(roundhouse("rm", "org/m", "--json", *folder))
    assert freed == [{"model": "org/m/m-Q4_K_M", "freed_bytes": 200_000}]
    assert [*tmp_path.iterdir()] == []


def test_a_terminal_sees_a_bar():
    """With the file that it is at; what people should know stays above it."""
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120, color_system=None)
    with Bars("org/m", console) as bars:
        for report in (
            Waiting("org/m"),
            Planned(["a[1].gguf"], 100, 60),
            Progress("a[1].gguf", 0, 60, "d"),
            Retrying("a[1].gguf", "it broke", 2.0),
            Progress("a[1].gguf", 60, 60, "d"),
            Verifying("a[1].gguf"),
            DONE,
        ):
            bars.tell(report)

    shown = screen.getvalue()
    assert "org/m: another process pulls of org/m; waiting for it" in shown
    assert "org/m: it broke; trying again in 2 s" in shown
    assert "checking a[1].gguf" in shown
    assert "100/100 bytes" in shown
    assert "org/m: pulled (100 B, ccccccc), served as org/m" in shown
