"""Ollama's store: manifests/host/namespace/model/tag, which list blobs by their digests.

See https://pkg.go.dev/github.com/ollama/ollama/server/internal/manifest. The blob of a model is a
GGUF file without a suffix; its parameters and its system message are blobs of their own.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import msgspec

from gateway.catalog.scan import Found, stamp_of
from gateway.catalog.stores.listing import is_within
from gateway.catalog.stores.ollama_params import read_preset
from gateway.config import Preset

MAX_MANIFESTS = 4096
MAX_TEXT_BYTES = 2**20

_KIND = "application/vnd.ollama.image."
_UNSERVABLE = {f"{_KIND}adapter", f"{_KIND}tensor"}
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_OWN_HOSTS = {"registry.ollama.ai", "ollama.com"}


class _Layer(msgspec.Struct, rename="camel"):
    media_type: str = ""
    digest: str = ""


class _Manifest(msgspec.Struct):
    layers: list[_Layer] = []

    def blobs(self, kind: str) -> list[str]:
        """The names of its blobs of a kind."""
        digests = (_DIGEST.fullmatch(x.digest) for x in self.layers if x.media_type == _KIND + kind)
        return [f"sha256-{digest[1]}" for digest in digests if digest]


_decode = msgspec.json.Decoder(_Manifest).decode


def find(root: Path) -> list[Found]:
    """Each model once; further names of its weights are presets of it, as are its own parameters.

    What is more than one file of weights, or has an adapter, is left out.
    """
    named: dict[str, list[tuple[str, _Manifest]]] = defaultdict(list)
    for path in sorted(root.glob("manifests/*/*/*/*"))[:MAX_MANIFESTS]:
        if (text := _read(path, root)) and (manifest := _manifest(text)):
            named[manifest.blobs("model")[0]].append((_name(path), manifest))
    found = (_found(root, blob, tags) for blob, tags in named.items())
    return sorted(filter(None, found), key=lambda model: model.id)


def _found(root: Path, blob: str, tags: list[tuple[str, _Manifest]]) -> Found | None:
    path = root / "blobs" / blob
    if not is_within(path, root) or not (stamp := stamp_of([path])):
        return None
    first, _ = min(tags, key=_likeness_to_a_base)
    plain = Preset(model=first)
    presets = ((name, _preset(root, first, manifest)) for name, manifest in tags)
    own = tuple((name, preset) for name, preset in presets if name != first or preset != plain)
    long_id = first if ":" in first.rsplit("/", 1)[-1] else f"{first}:latest"
    return Found(first, long_id, path, stamp, "ollama", own)


def _likeness_to_a_base(tag: tuple[str, _Manifest]) -> tuple[bool, bool, int, str]:
    """What the others were made from has no message of its own, and is rather of the library."""
    name, manifest = tag
    return bool(manifest.blobs("system")), "/" in name, len(name), name


def _preset(root: Path, model: str, manifest: _Manifest) -> Preset:
    params = _texts(root, manifest.blobs("params"))
    return read_preset(model, params, "".join(_texts(root, manifest.blobs("system"))))


def _name(manifest: Path) -> str:
    """As Ollama shows it, but without the tag `latest`."""
    host, namespace, model, tag = manifest.parts[-4:]
    where = "" if host in _OWN_HOSTS else f"{host}/"
    where += "" if host in _OWN_HOSTS and namespace == "library" else f"{namespace}/"
    return f"{where}{model}" if tag == "latest" else f"{where}{model}:{tag}"


def _manifest(text: bytes) -> _Manifest | None:
    """None of one that cannot be read, or whose model is not one file of weights alone."""
    try:
        manifest = _decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    kinds = {layer.media_type.partition(";")[0] for layer in manifest.layers}
    is_servable = len(manifest.blobs("model")) == 1 and not kinds & _UNSERVABLE
    return manifest if is_servable else None


def _texts(root: Path, blobs: Iterable[str]) -> list[str]:
    texts = (_read(root / "blobs" / blob, root) for blob in blobs)
    return [text.decode(errors="replace") for text in texts if text]


def _read(path: Path, root: Path) -> bytes:
    """Nothing of what is not a file of the store, or is too large for a text."""
    try:
        if is_within(path, root) and path.is_file() and path.stat().st_size <= MAX_TEXT_BYTES:
            return path.read_bytes()
    except OSError:
        pass
    return b""
