"""What an operator can set: built-in defaults, then `roundhouse.toml`, then the command line."""

from gateway.config.errors import SettingsError
from gateway.config.limits import Limits
from gateway.config.load import DEFAULT_FILE, load_settings
from gateway.config.models import ModelSettings, Preset
from gateway.config.pool import GroupSettings, PoolSettings
from gateway.config.settings import Settings
from gateway.config.store import StoreSettings

__all__ = [
    "DEFAULT_FILE",
    "GroupSettings",
    "Limits",
    "ModelSettings",
    "PoolSettings",
    "Preset",
    "Settings",
    "SettingsError",
    "StoreSettings",
    "load_settings",
]
