from importlib.metadata import PackageNotFoundError, version

UNKNOWN = "0.0.0"


def own_version() -> str:
    """As it was installed; `UNKNOWN` where it runs from its sources."""
    try:
        return version("roundhouse")
    except PackageNotFoundError:
        return UNKNOWN
