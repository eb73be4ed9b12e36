"""All that an operator can set."""

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from engine.api import DType, KVDType
from gateway.config.discovery import Discovery
from gateway.config.hub import HubSettings
from gateway.config.keys import KeysSettings
from gateway.config.limits import Limits
from gateway.config.log import LogSettings
from gateway.config.metrics import MetricsSettings
from gateway.config.models import Defaults, ModelSettings, Preset
from gateway.config.pool import GroupSettings, PoolSettings
from gateway.config.scalars import Context, Count, DeviceNames, Seconds
from gateway.config.store import StoreSettings
from gateway.config.tls import TlsSettings
from gateway.config.traces import TracesSettings
from gateway.config.upstreams import UpstreamSettings
from gateway.units import Bytes, DeviceBudget


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that an operator can set. Sizes and durations are as `gateway.units` reads them.

    host: the address to listen on; 127.0.0.1 is for this machine alone, 0.0.0.0 for all.
    port: 0 takes a free one.
    models_dir: the folder of models, with those in folders within it.
    memory: what models may take: of the GPUs that are here, or of the machine where there are none;
    unset, `serve` takes nearly all of each GPU, or 60 % of the machine's.
    devices: instead, a worker for each with memory of its own: "cpu:8GiB", "cuda:0", "cuda:1:40GiB", or
    "cuda" for every GPU; named cuda:0 ... and cpu:0 ..., or cpu if it is alone.
    tensor_parallel: groups of devices that may hold a model together.
    threads: what each worker computes with; unset is every core.
    dtype: what is computed and cached in; float32 is exact and slow.
    kv_dtype: what keys and values are kept in; q8_0 and fp8 take about half the memory.
    speculate: tokens that a sequence guesses ahead at most; what it says stays the same.
    image_cache: a folder for weights as kernels read them, "auto" for one in the user's cache, "off"
    for none.
    image_cache_bytes: what it may take; unset, the engine looks at how much room there is.
    warm_memory: host memory for weights of models that made room, over all devices together; unset
    is left to the engine.
    parked_memory: host memory for caches of models that made room or were paused, likewise.
    max_context: the longest context that a model is given, in tokens.
    max_wait_seconds: how long a cold model waits before busy ones are closed to make room for it.
    aliases: further name, and the model that it means.
    chat_templates: model, and the file of a template that is used instead of its own.
    allowed_hosts: names of this server beside those of this machine; others are refused.
    cors_origins: web pages that may use it from a browser, beside those of this machine; "*" is any.
    log_format: "auto" is console on a terminal, else json.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8080
    models_dir: Path = field(default_factory=lambda: Path("models"))
    discovery: Discovery = field(default_factory=Discovery)
    memory: Bytes | None = None
    devices: list[DeviceBudget] = []
    tensor_parallel: list[DeviceNames] = []
    threads: Count | None = None
    dtype: DType = "auto"
    kv_dtype: KVDType = "auto"
    speculate: Annotated[int, Meta(ge=0)] = 0
    image_cache: str = "auto"
    image_cache_bytes: Bytes | None = None
    warm_memory: Bytes | None = None
    parked_memory: Bytes | None = None
    max_context: Context = 32768
    max_wait_seconds: Seconds = 2
    aliases: dict[str, str] = {}
    chat_templates: dict[str, Path] = {}
    allowed_hosts: list[str] = []
    cors_origins: list[str] = []
    log_format: Literal["auto", "console", "json"] = "auto"
    limits: Limits = field(default_factory=Limits)
    pool: PoolSettings = field(default_factory=PoolSettings)
    store: StoreSettings = field(default_factory=StoreSettings)
    hub: HubSettings = field(default_factory=HubSettings)
    keys: KeysSettings = field(default_factory=KeysSettings)
    tls: TlsSettings | None = None
    log: LogSettings = field(default_factory=LogSettings)
    metrics: MetricsSettings = field(default_factory=MetricsSettings)
    traces: TracesSettings = field(default_factory=TracesSettings)
    defaults: Defaults = field(default_factory=Defaults)
    model: dict[str, ModelSettings] = {}
    presets: dict[str, Preset] = {}
    groups: list[GroupSettings] = []
    upstreams: list[UpstreamSettings] = []

    @property
    def is_loopback(self) -> bool:
        return self.host in {"localhost", "::1"} or self.host.startswith("127.")

    @property
    def total_memory(self) -> int:
        """Bytes that models may take on all devices together."""
        return sum(device.memory_bytes or 0 for device in self.devices) or self.memory or 0
