"""Keys that stand in a file, as a secret of Kubernetes brings them."""

import tomllib
from pathlib import Path

import msgspec
from msgspec import Struct

from gateway.keys.errors import KeysError
from gateway.keys.key import Digest, Key, Name, Rights, digest_of

MIN_LENGTH = 16
"""Of a key that somebody made up: a hash of less is guessed."""
MAX_BYTES = 4 * 2**20

_OWN = {"name", "key", "hash"}


class Entry(Rights, frozen=True, kw_only=True):
    """key or hash: one of them; the hash is its SHA-256 in hexadecimal."""

    name: Name
    key: str | None = None
    hash: Digest | None = None


class _File(Struct, forbid_unknown_fields=True):
    keys: list[Entry]


def read_keys(path: Path) -> list[Key]:
    """Raises `KeysError`, which never has a key in it."""
    try:
        text = path.read_bytes()[: MAX_BYTES + 1]
        if len(text) > MAX_BYTES:
            raise KeysError(f"{path}: more than {MAX_BYTES} bytes")
        is_json = path.suffix == ".json"
        values = msgspec.json.decode(text) if is_json else tomllib.loads(text.decode())
        entries = msgspec.convert(values, _File).keys
    except (OSError, msgspec.ValidationError) as error:
        raise KeysError(f"{path}: {error}") from None
    except (ValueError, RecursionError):  # a parser may quote what it stumbles over
        raise KeysError(f"{path}: this is no {'JSON' if is_json else 'TOML'}") from None
    return [_key(entry, path) for entry in entries]


def _key(entry: Entry, path: Path) -> Key:
    if (entry.key is None) == (entry.hash is None):
        raise KeysError(f"{path}: {entry.name}: either key or hash is needed")
    digest = entry.hash or hash_of_given(entry.key or "", f"{path}: {entry.name}")
    rights = {name: getattr(entry, name) for name in entry.__struct_fields__ if name not in _OWN}
    return Key(name=entry.name, digest=digest, **rights)


def hash_of_given(secret: str, where: str) -> str:
    """Of a key that we did not make. Raises `KeysError` for one that is too easily guessed."""
    if len(secret) < MIN_LENGTH or not secret.isascii() or not secret.isprintable():
        raise KeysError(f"{where}: a key has at least {MIN_LENGTH} characters, of ASCII's")
    return digest_of(secret)
