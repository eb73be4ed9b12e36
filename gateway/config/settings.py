"""All that an operator can set."""

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from gateway.config.limits import Limits
from gateway.config.models import ModelSettings, Preset
from gateway.config.pool import GroupSettings, PoolSettings
from gateway.config.scalars import Count, DeviceNames, Seconds
from gateway.config.store import StoreSettings
from gateway.units import Bytes, DeviceBudget


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
