"""What an operator can set: built-in defaults, then `roundhouse.toml`, then the command line."""

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, field

from gateway.units import (
    Bytes,
    DeviceBudget,
    Duration,
    parse_bytes,
    parse_device,
    parse_duration,
)

DEFAULT_FILE = Path("roundhouse.toml")

Seconds = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1)]
Priority = Annotated[int, Meta(ge=-100, le=100)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
DeviceNames = Annotated[list[str], Meta(min_length=2)]
Scalar = str | int | float | bool


class SettingsError(ValueError):
    """A setting that is wrong or unknown; the message names the file and the setting's path."""


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


class PoolSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How models take turns.

    pausing: busy models may be paused between two tokens for one that has waited too long.
    drain_seconds: how long before that a model is closed to newcomers, so that short requests end.
    min_dwell_seconds: how long a busy model is left alone once it was made ready. dwell_factor: how
    long any model is, in times of what making it ready took.
    victims: who goes first, the longest unused or the cheapest to bring back.
    """

    pausing: bool = True
    drain_seconds: Annotated[float, Meta(ge=0)] = 1.0
    min_dwell_seconds: Annotated[float, Meta(ge=0)] = 0.5
    dwell_factor: Annotated[float, Meta(ge=0)] = 1.5
    victims: Literal["lru", "cost"] = "lru"


class ModelSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What holds for one model, whoever asks for it.

    pin: it is never evicted. preload: it is loaded at the start, if it fits beside those before it
    in the file. keep_alive: how long it stays after its last request; None as long as
    nothing else needs the room. priority: each level counts as `max_wait_seconds` already waited.
    devices: the only ones it may go to, by name. tensor_parallel: over how many it is spread; None:
    over the fewest that hold it.
    """

    pin: bool = False
    preload: bool = False
    keep_alive: Duration | None = None
    priority: Priority | None = None
    devices: list[str] = []
    tensor_parallel: Count | None = None


class Preset(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model under a further name, with values for what a request leaves open.

    model: the name of the model whose weights it shares. system: the system message of chats that
    bring none. template_kwargs: as `chat_template_kwargs`.
    """

    model: str
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=-1)] | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    max_tokens: Count | None = None
    seed: int | None = None
    stop: list[Annotated[str, Meta(min_length=1, max_length=256)]] | None = None
    repetition_penalty: Annotated[float, Meta(gt=0, le=10)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    system: str | None = None
    template_kwargs: dict[str, Scalar] = {}
    keep_alive: Duration | None = None
    priority: Priority | None = None


class GroupSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Models whose residence depends on each other.

    at_most: so many of them are in memory at once. alone: while one of them is, nothing else is.
    """

    name: str
    models: Annotated[list[str], Meta(min_length=1)]
    at_most: Count | None = None
    alone: bool = False


class StoreSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is kept of the Responses API.

    path: a file, or "memory" to forget all with the process. keep: how long after its last use.
    max_bytes: of all of them; the longest unused goes first.
    """

    path: str = "memory"
    keep: Duration = Duration(30 * 24 * 3600)
    max_bytes: Bytes = Bytes(256 * 2**20)


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """memory: bytes that models may take; None leaves it to the command's own estimate.

    speculate: tokens that a sequence guesses ahead at most; what it says stays the same.
    devices: instead of `memory`, a worker for each with memory of its own; named cpu:0, cpu:1 ...,
    or cpu if it is alone. threads: what each worker computes with; None is every core.
    tensor_parallel: groups of devices that may hold a model together.
    image_cache, image_cache_bytes: as in `engine.api.ImageCache`. warm_memory, parked_memory: as in
    `engine.api.HostMemory`, over all devices together.
    max_wait_seconds: how long a cold model waits before busy ones are closed to make room for it.
    aliases: further name -> model id. chat_templates: model id -> template file, used instead of
    the model's own. model: by name. presets: by the name they are asked for.
    allowed_hosts, cors_origins: beside those of this machine.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8080
    models_dir: Path = Path("models")
    memory: Bytes | None = None
    devices: list[DeviceBudget] = []
    tensor_parallel: list[DeviceNames] = []
    threads: Count | None = None
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    kv_dtype: Literal["auto", "q8_0"] = "auto"
    speculate: Annotated[int, Meta(ge=0)] = 0
    image_cache: str = "auto"
    image_cache_bytes: Bytes | None = None
    warm_memory: Bytes | None = None
    parked_memory: Bytes | None = None
    max_context: Annotated[int, Meta(ge=16)] = 32768
    max_wait_seconds: Seconds = 2
    aliases: dict[str, str] = {}
    chat_templates: dict[str, Path] = {}
    allowed_hosts: list[str] = []
    cors_origins: list[str] = []
    log_format: Literal["auto", "console", "json"] = "auto"
    limits: Limits = field(default_factory=Limits)
    pool: PoolSettings = field(default_factory=PoolSettings)
    store: StoreSettings = field(default_factory=StoreSettings)
    model: dict[str, ModelSettings] = {}
    presets: dict[str, Preset] = {}
    groups: list[GroupSettings] = []

    @property
    def is_loopback(self) -> bool:
        return self.host in {"localhost", "::1"} or self.host.startswith("127.")

    @property
    def total_memory(self) -> int:
        """Bytes that models may take on all devices together."""
        return sum(device.memory_bytes for device in self.devices) or self.memory or 0


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
        raise SettingsError(f"{path or 'settings'}: {_named(values, error)}") from None


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path}: {error}") from None


_TABLES: dict[str, type[Struct]] = {"model": ModelSettings, "presets": Preset}


def _named(values: dict[str, Any], error: msgspec.ValidationError) -> str:
    """The error's message; msgspec says only `[...]` for the key of a table."""
    if "[...]" in str(error):
        for table, kind in _TABLES.items():
            entries = values.get(table)
            for name, entry in entries.items() if isinstance(entries, dict) else ():
                try:
                    msgspec.convert(entry, kind, dec_hook=_convert)
                except msgspec.ValidationError as found:
                    return f"[{table}.{name!r}]: {found}"
    return str(error)


_READERS: dict[type, Callable[[str], object]] = {
    Bytes: parse_bytes,
    Duration: parse_duration,
    DeviceBudget: parse_device,
}


def _convert(target: type, value: object) -> object:
    if target is Path and isinstance(value, str | Path):
        return Path(value).expanduser()
    if target in _READERS and isinstance(value, str):
        return _READERS[target](value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        if target is Bytes and isinstance(value, int) and value >= 0:
            return Bytes(value)
        if target is Duration:
            return parse_duration(value)
    raise ValueError(f"expected {target.__name__}, got {value!r}")
