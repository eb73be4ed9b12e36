"""All keys that count now, wherever they come from."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import structlog

from gateway.config import SCOPES, KeysSettings
from gateway.keys.errors import KeysError
from gateway.keys.file import hash_of_given, read_keys
from gateway.keys.key import Key, digest_of
from gateway.keys.table import Table

CHECK_SECONDS = 0.25
"""How long it may take at most until a revoked key is refused."""
VARIABLE = "ROUNDHOUSE_API_KEY"

log = structlog.get_logger()


class Keyring:
    """Keys of the database, of a file and of the environment; of equal ones the last counts.

    Whoever asks for one has them read again first if they have changed, at most every
    `CHECK_SECONDS`. What cannot be read then leaves those in force that were: nobody is locked out by
    half a file. At the start it raises `KeysError`.
    """

    def __init__(
        self, settings: KeysSettings, secret: str | None, clock: Callable[[], float]
    ) -> None:
        """secret: the environment's key, which may do everything."""
        self._clock = clock
        self._sources: list[_File | _Database] = []
        if (database := database_path(settings)) is not None:
            self._sources.append(_Database(database))
        if settings.file is not None:
            self._sources.append(_File(settings.file))
        self._own = [_environments(secret)] if secret else []
        self._by_digest: dict[str, Key] = {}
        self._checked = clock()
        for source in self._sources:
            source.refresh()
        self._settle()

    @property
    def keys(self) -> list[Key]:
        self._refresh()
        return list(self._by_digest.values())

    def find(self, secret: str) -> Key | None:
        """In the same time whether there is one or not."""
        self._refresh()
        digest = digest_of(secret)
        key = self._by_digest.get(digest)
        return key if key is not None and key.is_known_by(digest) else None

    def close(self) -> None:
        for source in self._sources:
            source.close()

    def _refresh(self) -> None:
        now = self._clock()
        if now - self._checked < CHECK_SECONDS:
            return
        self._checked = now
        news = [_refreshed(source) for source in self._sources]  # each of them, not up to the first
        if any(news):
            self._settle()
            log.info("keys_read", keys=len(self._by_digest))

    def _settle(self) -> None:
        found: Iterable[Key] = [key for source in self._sources for key in source.keys]
        self._by_digest = {key.digest: key for key in [*found, *self._own]}


def database_path(settings: KeysSettings) -> Path | None:
    if settings.path == "off":
        return None
    if settings.path != "auto":
        return Path(settings.path).expanduser()
    home = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(home).expanduser() / "roundhouse" / "keys.sqlite"


def _environments(secret: str) -> Key:
    return Key(name="environment", digest=hash_of_given(secret, VARIABLE), scopes=SCOPES)


def _refreshed(source: "_File | _Database") -> bool:
    try:
        return source.refresh()
    except KeysError as error:
        if str(error) != source.trouble:
            log.warning("keys_not_read", reason=str(error))
        source.trouble = str(error)
    return False


class _File:
    """A file, read again when it is another or has another time or size."""

    def __init__(self, path: Path) -> None:
        self.keys: list[Key] = []
        self.trouble = ""
        self._path = path
        self._stamp: tuple[int, ...] = ()

    def refresh(self) -> bool:
        """Whether it was read. Raises `KeysError`."""
        try:
            found = self._path.stat()
        except OSError as error:
            raise KeysError(f"{self._path}: {error.strerror}") from None
        stamp = (found.st_ino, found.st_mtime_ns, found.st_size)
        if stamp == self._stamp:
            return False
        self.keys = read_keys(self._path)
        self._stamp, self.trouble = stamp, ""
        return True

    def close(self) -> None:
        """Nothing is held open."""


class _Database:
    """The database, which need not be there yet, or may be gone; it is never made here."""

    def __init__(self, path: Path) -> None:
        self.keys: list[Key] = []
        self.trouble = ""
        self._path = path
        self._table: Table | None = None
        self._known: tuple[int | None, int] = (None, 0)

    def refresh(self) -> bool:
        """Whether it was read. Raises `KeysError`."""
        inode = self._path.stat().st_ino if self._path.is_file() else None
        if inode != self._known[0]:
            self.close()
            self._table = Table(self._path) if inode is not None else None
        known = (inode, self._table.version if self._table else 0)
        if known == self._known:
            return False
        self.keys = [made.key for made in self._table.made()] if self._table else []
        self._known, self.trouble = known, ""
        return True

    def close(self) -> None:
        if self._table is not None:
            self._table.close()
        self._table = None
