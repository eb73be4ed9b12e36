"""`roundhouse list` and `roundhouse ps`: what the running server has, and what is in memory."""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from gateway.cli.url import add_url

if TYPE_CHECKING:
    from rich.table import Table

Json = dict[str, Any]
Columns = Mapping[str, Callable[[Json], str]]

LIST_COLUMNS: Columns = {
    "MODEL": lambda model: str(model.get("id", "")),
    "STATE": lambda model: str(model.get("state", "")),
    "DOES": lambda model: ", ".join(model.get("tasks", [])),
    "FAMILY": lambda model: str(model.get("family", "")),
    "WEIGHTS": lambda model: str(model.get("quantization", "")),
    "PARAMETERS": lambda model: decimal(model.get("parameters", 0)),
    "SIZE": lambda model: decimal(model.get("bytes", 0)) + "B",
    "CONTEXT": lambda model: str(model.get("context_length", "")),
}
PS_COLUMNS: Columns = {
    **{name: LIST_COLUMNS[name] for name in ("MODEL", "STATE", "FAMILY", "WEIGHTS", "CONTEXT")},
    "DEVICE": lambda model: str(model.get("device") or ""),
    "UNTIL": lambda model: until(model),  # noqa: PLW0108 (it is defined below)
}


def add_parsers(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    for name, run, text in (
        ("list", run_list, "list the models that the running server can serve"),
        ("ps", run_ps, "list the models that are in memory, or on their way"),
    ):
        parser = commands.add_parser(name, help=text)
        add_url(parser)
        parser.add_argument("--json", action="store_true", help="print JSON")
        parser.set_defaults(run=run)


def run_list(args: argparse.Namespace) -> None:
    show(_models(args), LIST_COLUMNS, args.json, "The server has no models.")


def run_ps(args: argparse.Namespace) -> None:
    resident = [model for model in _models(args) if model.get("state") != "unloaded"]
    show(resident, PS_COLUMNS, args.json, "No model is loaded; a request loads the one it names.")


def show(models: Sequence[Json], columns: Columns, as_json: bool, if_empty: str) -> None:
    if as_json:
        print(json.dumps(models, indent=2))
    elif not models:
        print(if_empty)
    else:
        from rich.console import Console

        # In a pipe there is no edge to wrap at.
        Console(width=None if sys.stdout.isatty() else 1000).print(table(models, columns))


def table(models: Sequence[Json], columns: Columns) -> "Table":
    from rich.table import Table
    from rich.text import Text

    made = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for model in models:
        made.add_row(*(Text(cell(model)) for cell in columns.values()))
    return made


def decimal(number: float) -> str:
    """Three digits and a prefix: 134515008 is "135 M"."""
    for prefix in ("", "k", "M", "G"):
        if abs(number) < 999.5:
            return f"{number:.3g} {prefix}"
        number /= 1000
    return f"{number:.3g} T"


def until(model: Json) -> str:
    """When it leaves by itself, in this machine's time."""
    if model.get("pinned"):
        return "pinned"
    expires_at = model.get("expires_at")
    if expires_at is None:
        return "its room is needed"
    return datetime.fromtimestamp(expires_at, UTC).astimezone().strftime("%H:%M:%S")


def _models(args: argparse.Namespace) -> list[Json]:
    from gateway.cli.server import Server

    with Server(args.url) as server:
        return server.models()
