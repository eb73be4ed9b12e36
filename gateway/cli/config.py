"""`roundhouse config`: what the settings are, whether they are right, and what they may be."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.cli.errors import CommandError

if TYPE_CHECKING:
    from gateway.config.load import Loaded
    from gateway.config.shown import Shown

NO_MODELS_YET = "models_dir: there is no folder {}"


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "show the settings in force, check them, or print their JSON Schema or reference"
    config = commands.add_parser("config", help=text).add_subparsers(
        metavar="COMMAND", required=True
    )
    for name, run, text in (
        ("show", run_show, "print every setting, and where it comes from; secrets are masked"),
        ("check", run_check, "look for mistakes; exits with 1 if the server would not start"),
    ):
        parser = config.add_parser(name, help=text)
        parser.add_argument(
            "--config", type=Path, metavar="FILE", help="default: ./roundhouse.toml"
        )
        parser.add_argument("--json", action="store_true", help="print JSON")
        parser.set_defaults(run=run)
    schema = config.add_parser("schema", help="print the JSON Schema of roundhouse.toml")
    schema.set_defaults(run=run_schema)
    docs = config.add_parser("docs", help="write the tables of settings in a Markdown file anew")
    docs.add_argument("file", type=Path, metavar="FILE", help="such as docs/configuration.md")
    docs.set_defaults(run=run_docs)


def run_show(args: argparse.Namespace) -> None:
    import msgspec

    from gateway.config.shown import shown

    loaded = _load(args.config)
    found = list(shown(loaded))
    if args.json:
        print(json.dumps(msgspec.to_builtins(found), indent=2))
        return
    if loaded.path:
        print(f"# {loaded.path}")
    width = max(len(each.setting) for each in found)
    for each in found:
        print(f"{each.setting:{width}}  {_written(each)}".rstrip())


def run_check(args: argparse.Namespace) -> None:
    """Prints what is wrong; what only may be is a warning."""
    from gateway.cli.checks import check_settings, warnings_about
    from gateway.config import SettingsError

    error, warnings, path = None, [], args.config
    try:
        loaded = _load(args.config)
        path = loaded.path
        check_settings(loaded.settings)
        warnings = list(warnings_about(loaded.settings))
        if not loaded.settings.models_dir.is_dir():
            warnings.insert(0, NO_MODELS_YET.format(loaded.settings.models_dir))
    except (CommandError, SettingsError) as mistake:
        error = str(mistake)
    if args.json:
        print(json.dumps({"file": path and str(path), "error": error, "warnings": warnings}))
        sys.exit(1 if error else 0)
    for warning in warnings:
        print(f"warning: {warning}")
    if error:
        raise CommandError(error)
    print(f"{path or 'no file'}: no mistakes")


def run_schema(args: argparse.Namespace) -> None:
    from gateway.config.schema import settings_schema

    del args
    print(json.dumps(settings_schema(), indent=2))


def run_docs(args: argparse.Namespace) -> None:
    from gateway.config.reference import renewed

    try:
        args.file.write_text(renewed(args.file.read_text()))
    except (OSError, ValueError) as error:
        raise CommandError(f"{args.file}: {error}") from None


def _load(path: Path | None) -> "Loaded":
    from gateway.config import SettingsError
    from gateway.config.load import load

    try:
        return load(path)
    except SettingsError as error:
        raise CommandError(str(error)) from None


def _written(each: "Shown") -> str:
    value = "-" if each.value is None else _short(each.value)
    where = f"({each.source})" if each.origin == "environment" else ""
    return f"{value:20}  {each.origin if each.origin != 'default' else ''} {where}"


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
