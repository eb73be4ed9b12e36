"""Stores as other programs lay them out, of files with nothing in them."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

COMMIT = "c" * 40


class HuggingFaceCache:
    def __init__(self, root: Path) -> None:
        self.root = root

    def add(self, repo: str, *names: str, commit: str = COMMIT, content: bytes = b"x") -> Path:
        """A snapshot made of links to blobs, as huggingface_hub makes it. Returns its folder."""
        folder = self.root / f"models--{repo.replace('/', '--')}"
        snapshot = folder / "snapshots" / commit
        for name in names:
            blob = folder / "blobs" / hashlib.sha256(f"{repo}{name}{commit}".encode()).hexdigest()
            blob.parent.mkdir(parents=True, exist_ok=True)
            blob.write_bytes(content)
            link = snapshot / name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(blob)
        return snapshot

    def set_main(self, repo: str, commit: str) -> None:
        ref = self.root / f"models--{repo.replace('/', '--')}" / "refs" / "main"
        ref.parent.mkdir(parents=True, exist_ok=True)
        ref.write_text(commit)


class OllamaStore:
    def __init__(self, root: Path) -> None:
        self.root = root

    def blob(self, content: bytes) -> str:
        """Keeps a blob and returns its digest."""
        digest = hashlib.sha256(content).hexdigest()
        path = self.root / "blobs" / f"sha256-{digest}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return f"sha256:{digest}"

    def add(self, name: str, layers: Mapping[str, bytes]) -> Path:
        """name: host/namespace/model/tag. layers: content by the last word of its media type."""
        described: list[dict[str, Any]] = [
            {
                "mediaType": f"application/vnd.ollama.image.{kind}",
                "digest": self.blob(content),
                "size": len(content),
            }
            for kind, content in layers.items()
        ]
        path = self.root / "manifests" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"schemaVersion": 2, "layers": described}))
        return path


@pytest.fixture
def huggingface(tmp_path: Path) -> HuggingFaceCache:
    return HuggingFaceCache(tmp_path / "hub")


@pytest.fixture
def ollama(tmp_path: Path) -> OllamaStore:
    return OllamaStore(tmp_path / "ollama")
