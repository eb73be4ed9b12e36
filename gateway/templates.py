"""Names and templates that settings give to models, wherever in them they are said."""

from collections.abc import Mapping
from pathlib import Path

from gateway.config import Settings, SettingsError

MAX_TEMPLATE_BYTES = 256 * 1024


def aliases_of(settings: Settings) -> dict[str, str]:
    """Further name -> model. Raises `SettingsError` for one that two models want."""
    found = dict(settings.aliases)
    for model, said in settings.model.items():
        for alias in said.aliases:
            if found.setdefault(alias, model) != model:
                raise SettingsError(
                    f"[model.{model!r}]: aliases: {alias!r} is one of {found[alias]!r} already"
                )
    return found


def templates_of(settings: Settings) -> dict[str, str]:
    """Model -> its template's text. Raises `SettingsError` for a file that cannot be used."""
    return {
        model: _read(f"{setting}: {path}", path)
        for model, (setting, path) in _files(settings).items()
    }


def _files(settings: Settings) -> Mapping[str, tuple[str, Path]]:
    named = {model: ("chat_templates", path) for model, path in settings.chat_templates.items()}
    own = {
        model: (f"[model.{model!r}]: chat_template", said.chat_template)
        for model, said in settings.model.items()
        if said.chat_template is not None
    }
    return named | own


def _read(named: str, path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_TEMPLATE_BYTES + 1)
        text = content.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{named}: {error}") from None
    if len(content) > MAX_TEMPLATE_BYTES:
        raise SettingsError(f"{named}: more than {MAX_TEMPLATE_BYTES} bytes")
    return text
