"""What an operator can set: built-in defaults, then `roundhouse.toml`, then the command line."""

from gateway.config.discovery import Discovery
from gateway.config.errors import SettingsError
from gateway.config.hub import HubSettings
from gateway.config.keys import SCOPES, KeysSettings, Scope
from gateway.config.limits import Limits
from gateway.config.load import DEFAULT_FILE, load_settings
from gateway.config.log import LogSettings
from gateway.config.merge import laid_under
from gateway.config.metrics import MetricsSettings
from gateway.config.models import Defaults, ModelSettings, Preset
from gateway.config.pool import GroupSettings, PoolSettings
from gateway.config.settings import Settings
from gateway.config.store import StoreSettings
from gateway.config.tls import TlsSettings
from gateway.config.traces import TracesSettings
from gateway.config.upstreams import UpstreamSettings

__all__ = [
    "DEFAULT_FILE",
    "SCOPES",
    "Defaults",
    "Discovery",
    "GroupSettings",
    "HubSettings",
    "KeysSettings",
    "Limits",
    "LogSettings",
    "MetricsSettings",
    "ModelSettings",
    "PoolSettings",
    "Preset",
    "Scope",
    "Settings",
    "SettingsError",
    "StoreSettings",
    "TlsSettings",
    "TracesSettings",
    "UpstreamSettings",
    "laid_under",
    "load_settings",
]
