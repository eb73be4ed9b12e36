"""Two servers that hold one model at a time: our gateway, and llama-server as a router."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
from harness import gateway
from servers import llama_server

CONTEXT = 4096
"""Of either side, so that both make room for as many tokens."""

_SETTINGS = """
max_context = {context}
image_cache = "{images}"
"""

FIRST_ID = 500
"""Of tokens that are words in every vocabulary here."""

_LOOK_SECONDS = 0.05

_serial = count()


@dataclass(frozen=True)
class Router:
    """images: the folder where it keeps what it makes of models, if it does."""

    name: str
    url: str
    client: httpx.Client
    images: Path | None = None

    def ttft_seconds(self, model: str) -> float:
        """From sending a prompt of five tokens to its first text. No two prompts begin alike."""
        body = {
            "model": model,
            "prompt": [FIRST_ID + next(_serial), *range(FIRST_ID, FIRST_ID + 4)],
            "max_tokens": 8,
            "temperature": 0,
            "ignore_eos": True,
            "stream": True,
        }
        began, first = time.perf_counter(), None
        with self.client.stream("POST", "/v1/completions", json=body) as response:
            for line in response.iter_lines():
                if first is None and _has_text(line):
                    first = time.perf_counter() - began
        if first is None:
            raise SystemExit(f"{self.name}: {model} said nothing: {response.status_code}")
        return first

    def loaded(self) -> set[str]:
        listed = self.client.get("/v1/models").json()["data"]
        return {model["id"] for model in listed if _state(model) == "loaded"}

    def forget(self, path: Path) -> None:
        """Drops from memory the pages of a model's file and of its image. It must not be mapped."""
        for file in (path, *self._images_of(path)):
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
                os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def unbuild(self, path: Path) -> None:
        """Removes a model's image: the next load is its first."""
        for image in self._images_of(path):
            image.unlink()

    def _images_of(self, path: Path) -> list[Path]:
        """Once they are on the disk, which loads do not wait for."""
        if self.images is None:
            return []
        while any(self.images.glob(f"{path.stem}-*.partial")):
            time.sleep(_LOOK_SECONDS)
        return list(self.images.glob(f"{path.stem}-*.image"))


@contextmanager
def ours(folder: Path, memory_bytes: int, *, is_warm: bool, dtype: str) -> Iterator[Router]:
    """is_warm: whether evicted models stay in memory; else they come back from their images."""
    with TemporaryDirectory() as kept:
        settings = Path(kept) / "roundhouse.toml"
        images = Path(kept) / "images"
        settings.write_text(_SETTINGS.format(context=CONTEXT, images=images))
        options = ["--config", str(settings), *([] if is_warm else ["--warm-memory", "0"])]
        models = {path.stem for path in folder.iterdir()}
        with (
            gateway(folder, str(memory_bytes), dtype, models, options) as running,
            _client(running.url) as client,
        ):
            yield Router("ours", running.url, client, images)


@contextmanager
def theirs(folder: Path) -> Iterator[Router]:
    """Without its warm-up run, which would cost its first token more than it gains."""
    options = ["--models-dir", str(folder), "--models-max", "1", "--no-warmup"]
    options += ["-c", str(CONTEXT), "-np", "1"]
    with (
        llama_server(*options) as server,
        _client(server.url) as client,
    ):
        yield Router("llama-server", server.url, client)


def _client(url: str) -> httpx.Client:
    """A connection for each request: llama-server may close one while the next is sent."""
    limits = httpx.Limits(max_keepalive_connections=0)
    return httpx.Client(base_url=url, timeout=600, limits=limits)


def _has_text(line: str) -> bool:
    if not line.startswith("data: {"):
        return False
    chunk = json.loads(line.removeprefix("data: "))
    return any(choice.get("text") for choice in chunk.get("choices", ()))


def _state(model: dict[str, object]) -> object:
    """As either side says it."""
    status = model.get("status")
    return status.get("value") if isinstance(status, dict) else model.get("state")
