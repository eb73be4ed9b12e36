"""What an operator can set: built-in defaults, then `roundhouse.toml`, then the command line."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, field

DEFAULT_FILE = Path("roundhouse.toml")

Seconds = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1)]


class SettingsError(ValueError):
    """A setting that is wrong or unknown; the message names the file and the setting's path."""


class Bytes(int):
    """A number of bytes, written as a number or with a unit: 700MiB, 2GiB, 1.5GB."""


_SIZE = re.compile(r"(?P<number>\d+(\.\d+)?)\s*(?P<unit>[kmgt]?i?b?)", re.IGNORECASE)
_EXPONENTS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def parse_bytes(text: str) -> Bytes:
    """Reads "2GiB", "700 MiB", "1.5GB" (decimal), "2G" (binary, as docker reads it), "4096"."""
    found = _SIZE.fullmatch(text.strip())
    if not found:
        raise ValueError(f"{text!r} is not a size such as 700MiB or 2GiB")
    unit = found["unit"].lower()
    base = 1000 if unit.endswith("b") and "i" not in unit else 1024
    return Bytes(float(found["number"]) * base ** _EXPONENTS[unit.rstrip("b").rstrip("i")])


class Limits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds on what one request, or all of them together, may take.

    wait_timeout_seconds: how long a request waits for its model before it is turned away.
    header_hold_seconds: how long a reply's headers wait for its first token, so that an error can
    still have its own status. stall_seconds: how long a client may leave a full buffer unread.
    """

    body_bytes: Bytes = Bytes(10_000_000)
    body_seconds: Seconds = 30
    choices: Annotated[int, Meta(ge=1, le=128)] = 8
    prompts: Count = 128
    queue_per_model: Count = 256
    queue_total: Count = 1024
    wait_timeout_seconds: Seconds = 300
    header_hold_seconds: Seconds = 10
    keep_alive_seconds: Seconds = 5
    stall_seconds: Seconds = 30
    shutdown_seconds: Seconds = 30


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """memory: bytes that models may take; None leaves it to the command's own estimate.

    image_cache, image_cache_bytes: as in `engine.api.ImageCache`.
    max_wait_seconds: how long a cold model waits before busy ones are closed to make room for it.
    aliases: further name -> model id. chat_templates: model id -> template file, used instead of
    the model's own. allowed_hosts, cors_origins: beside those of this machine.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8080
    models_dir: Path = Path("models")
    memory: Bytes | None = None
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    image_cache: str = "auto"
    image_cache_bytes: Bytes | None = None
    max_context: Annotated[int, Meta(ge=16)] = 32768
    max_wait_seconds: Seconds = 2
    aliases: dict[str, str] = {}
    chat_templates: dict[str, Path] = {}
    allowed_hosts: list[str] = []
    cors_origins: list[str] = []
    log_format: Literal["auto", "console", "json"] = "auto"
    limits: Limits = field(default_factory=Limits)

    @property
    def is_loopback(self) -> bool:
        return self.host in {"localhost", "::1"} or self.host.startswith("127.")


def load_settings(path: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Reads `path`, or `roundhouse.toml` if there is one here, and lays `overrides` over it.

    An override that is None leaves the file's value. Raises `SettingsError`.
    """
    if path is None and DEFAULT_FILE.is_file():
        path = DEFAULT_FILE
    values = _read(path) if path else {}
    values |= {name: value for name, value in (overrides or {}).items() if value is not None}
    try:
        return msgspec.convert(values, Settings, dec_hook=_convert)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{path or 'settings'}: {error}") from None


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path}: {error}") from None


def _convert(target: type, value: object) -> object:
    if target is Path and isinstance(value, str | Path):
        return Path(value).expanduser()
    if target is Bytes and isinstance(value, str):
        return parse_bytes(value)
    if target is Bytes and isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return Bytes(value)
    raise ValueError(f"expected {target.__name__}, got {value!r}")
