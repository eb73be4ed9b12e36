from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.hub.access import Access
from gateway.hub.pull import Puller
from gateway.hub.reference import read_reference
from gateway.hub.reports import Done, Report
from hub_server import HubServer

FIXTURES = Path(__file__).parents[2] / "fixtures"
FOLDER = {path.name: path.read_bytes() for path in (FIXTURES / "llama-bf16/hf").iterdir()}
"""A small real model as safetensors."""
GGUFS = {
    path.name: path.read_bytes() for path in sorted((FIXTURES / "llama-q").glob("*_[0K].gguf"))
}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A hub with `org/folder`, which also has what must never be fetched, and `org/quants`."""
    for name in ("HF_TOKEN", "HF_ENDPOINT", "HF_HUB_OFFLINE", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_TOKEN_PATH", "/nonexistent")
    with HubServer() as server:
        server.add("org/folder", FOLDER | {"model.py": b"evil", "pytorch_model.bin": b"pickle"})
        server.add("org/quants", GGUFS)
        yield server


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


class Pulling:
    """Pulls without waiting. reports: what was said; pauses: what it would have waited for."""

    def __init__(self, hub: HubServer, models: Path) -> None:
        self.access = Access(hub.url)
        self.models = models
        self.reports: list[Report] = []
        self.pauses: list[float] = []

    def __call__(self, name: str, tell: Callable[[Report], None] | None = None) -> Done:
        puller = Puller(self.models, self.access, self.pauses.append)
        return puller.pull(read_reference(name), tell or self.reports.append)

    def files(self) -> list[str]:
        """All that lies in the models folder but for what is kept beside the models."""
        found = (path.relative_to(self.models) for path in self.models.rglob("*") if path.is_file())
        return sorted(path.as_posix() for path in found if ".roundhouse" not in path.parts)

    def partial(self) -> list[str]:
        return sorted(path.name for path in self.models.rglob(".roundhouse/partial/*"))


@pytest.fixture
def pull(hub: HubServer, models: Path) -> Pulling:
    return Pulling(hub, models)
