"""Where the models folder is, for commands that work on it without a server."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.cli.errors import CommandError

if TYPE_CHECKING:
    from gateway.config import Settings


def add_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="default: ./roundhouse.toml")
    parser.add_argument("--models-dir", type=Path, metavar="DIR", help="default: ./models")


def read_folder(args: argparse.Namespace) -> "Settings":
    """The settings, with the folder that the command line names. Raises `CommandError`."""
    from gateway.config import SettingsError, load_settings

    try:
        return load_settings(args.config, {"models_dir": args.models_dir})
    except SettingsError as error:
        raise CommandError(str(error)) from None
