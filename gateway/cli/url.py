import argparse
import os

DEFAULT_URL = "http://127.0.0.1:8080"
VARIABLE = "ROUNDHOUSE_URL"


def add_url(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--url",
        type=lambda url: url or default_url(),
        default="",  # read by `type` when the command is given, not when its help is made
        help=f"where the server is (default: ${VARIABLE}, or as ./roundhouse.toml says, or {DEFAULT_URL})",
    )


def default_url() -> str:
    """Where `roundhouse serve` listens in this folder, unless the environment names another place."""
    if url := os.environ.get(VARIABLE):
        return url
    from gateway.config import SettingsError, load_settings

    try:
        settings = load_settings(None, {})
    except SettingsError:  # said by commands that need more of it
        return DEFAULT_URL
    return url_of(settings.host, settings.port, "https" if settings.tls else "http")


def url_of(host: str, port: int, scheme: str = "http") -> str:
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 (read, not bound)
    return f"{scheme}://{f'[{reachable}]' if ':' in reachable else reachable}:{port}"
