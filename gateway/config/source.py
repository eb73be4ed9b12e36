"""Where settings come from, for who reads them again."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gateway.config.load import DEFAULT_FILE
from gateway.config.settings import Settings

Stamp = tuple[int, int, int] | None
"""Changes when a file does, or another takes its place; None while there is none."""


@dataclass(frozen=True, slots=True)
class Source:
    """load: reads them anew; raises `SettingsError`. path: their file, `roundhouse.toml` if None."""

    load: Callable[[], Settings]
    path: Path | None = None

    def stamps(self, settings: Settings) -> dict[Path, Stamp]:
        """Of the file, and of those that the settings name and that are read with it."""
        templates = [model.chat_template for model in settings.model.values()]
        files = [self.path or DEFAULT_FILE, *settings.chat_templates.values(), *templates]
        return {file: _stamp(file) for file in files if file is not None}


def _stamp(file: Path) -> Stamp:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
