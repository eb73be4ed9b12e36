"""What was found out about a checkpoint, in small files beside the images, for the next process.

A file is believed where its checksum is right, where it was written by this very code, and where
nothing that it was made of has changed since; else it is as if there were none. Anyone may delete
one at any time.
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

import msgspec
from msgspec import Struct

import engine
from engine.kernels.cpu.library import is_available
from engine.residency.file_states import State, state_of

MAX_FILES = 256
"""Of some hundred kilobytes at most; those used longest ago go."""

MAX_BYTES = 16 * 2**20
"""Of one file; a larger one is not read."""

_SUFFIX, _UNFINISHED = ".known", ".unknown"
_DIGEST_BYTES = 32


class _Sidecar(Struct, frozen=True, forbid_unknown_fields=True):
    code: str
    key: tuple[str, ...]
    state: State
    body: bytes


@dataclass(frozen=True, slots=True)
class Question:
    """A path and what is asked of it, with the state that it is in when it is asked."""

    key: tuple[str, ...]
    state: State | None

    @classmethod
    def of(cls, path: Path, *how: str) -> "Question":
        """A link is asked about as what it points to now."""
        where = os.path.abspath(path)  # noqa: PTH100  # unlike Path.absolute, without ".."
        return cls((where, *how), state_of(where))


class Sidecars:
    """A folder of them; without one, nothing is found and nothing kept. Any thread may call.

    Never raises: what cannot be read or written is found out anew.
    """

    def __init__(self, folder: Path | None, max_files: int = MAX_FILES) -> None:
        self._folder, self._max_files = folder, max_files

    def find(self, question: Question) -> bytes | None:
        """What was kept as the answer."""
        if self._folder is None:
            return None
        file = self._folder / _name(question.key)
        try:
            sidecar = _read(file)
        except (OSError, ValueError):
            return None
        believed = sidecar.code == code() and sidecar.key == question.key
        if not believed or sidecar.state != question.state:
            return None
        with contextlib.suppress(OSError):  # a folder that may only be read
            os.utime(file)
        return sidecar.body

    def keep(self, question: Question, answer: bytes) -> None:
        """An answer that was found after the question was made; none if files changed meanwhile."""
        state = question.state
        if self._folder is None or state is None or state_of(question.key[0]) != state:
            return
        with contextlib.suppress(OSError):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            sidecar = _Sidecar(code(), question.key, state, answer)
            _write(self._folder / _name(question.key), sidecar)
            self._make_room()

    def _make_room(self) -> None:
        assert self._folder is not None
        files = list(self._folder.glob(f"*{_SUFFIX}"))
        if len(files) > self._max_files:
            files.sort(key=lambda file: file.stat().st_mtime_ns)
            for file in files[: -self._max_files]:
                file.unlink(missing_ok=True)


@cache
def code() -> str:
    """One word for the engine's files and the native library: other code may find out otherwise."""
    files = sorted(_code_files(Path(engine.__file__).parent))
    named = os.environ.get("ROUNDHOUSE_NATIVE", "")
    return sha256(msgspec.json.encode((files, named, is_available()))).hexdigest()


def _code_files(folder: Path) -> Iterator[tuple[str, int, int]]:
    for parent, _, names in os.walk(folder):
        for name in names:
            if name.endswith((".py", ".so")):
                status = os.stat(os.path.join(parent, name))  # noqa: PTH116, PTH118  # a fifth of the time
                yield f"{parent}/{name}", status.st_size, status.st_mtime_ns


def _name(key: tuple[str, ...]) -> str:
    return f"{sha256(msgspec.json.encode(key)).hexdigest()[:32]}{_SUFFIX}"


def _read(file: Path) -> _Sidecar:
    """Raises `OSError`, and ValueError for what is damaged."""
    with file.open("rb") as opened:
        content = opened.read(MAX_BYTES + 1)
    digest, payload = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    if len(content) > MAX_BYTES or sha256(payload).digest() != digest:
        raise ValueError(f"{file.name} is damaged")
    return msgspec.msgpack.decode(payload, type=_Sidecar)


def _write(file: Path, sidecar: _Sidecar) -> None:
    """Not synced: what a crash leaves of it, or two writers at once, has the wrong checksum."""
    payload = msgspec.msgpack.encode(sidecar)
    unfinished = file.with_suffix(_UNFINISHED)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as opened:  # noqa: PTH123  # it is private from the start
        opened.write(sha256(payload).digest() + payload)
    unfinished.replace(file)
