"""Whether a file's content is what the hub says it is."""

import hashlib
from pathlib import Path

from gateway.hub.files import RemoteFile

CHUNK_BYTES = 2**20


def is_intact(path: Path, file: RemoteFile) -> bool:
    """Reads the file whole; False as well if it is not there. Git names content by its SHA-1."""
    try:
        if path.stat().st_size != file.num_bytes:
            return False
        return _digest(path, file) == file.key
    except FileNotFoundError:
        return False


def _digest(path: Path, file: RemoteFile) -> str:
    if file.sha256:
        digest = hashlib.sha256()
    else:
        digest = hashlib.sha1(b"blob %d\0" % file.num_bytes, usedforsecurity=False)
    with path.open("rb") as source:
        while chunk := source.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
