"""Where an upstream's key is, which only its own requests get to see."""

import os
from collections.abc import Callable
from pathlib import Path

from gateway.config import SettingsError, UpstreamSettings

Key = Callable[[], str | None]


def key_of(settings: UpstreamSettings) -> Key:
    """Gives the key each time it is asked: a file's may change, as those of Kubernetes secrets do.

    Raises `SettingsError` where there is none now.
    """
    at = f"[[upstreams]] {settings.name!r}"
    if settings.key_env and settings.key_file:
        raise SettingsError(f"{at}: key_env or key_file, and not both")
    if settings.key_env:
        value = os.environ.get(settings.key_env, "").strip()
        if not value:
            raise SettingsError(f"{at}: key_env: the variable {settings.key_env} is not set")
        return lambda: value
    if (path := settings.key_file) is None:
        return lambda: None
    try:
        _read(path)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{at}: key_file: {path}: {error}") from None
    return lambda: _read(path)


def _read(path: Path) -> str:
    return path.read_text().strip()
