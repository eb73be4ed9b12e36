class SettingsError(ValueError):
    """A setting that is wrong or unknown; the message names the file and the setting's path."""
