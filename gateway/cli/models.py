"""`roundhouse list` and `roundhouse ps`: what the running server has, and what is in memory."""

import argparse
import sys
from datetime import UTC, datetime

from gateway.cli.errors import CommandError
from gateway.cli.tables import Columns, Json, add_json, decimal, num_bytes, seconds, show
from gateway.cli.url import add_url

LIST_COLUMNS: Columns = {
    "MODEL": lambda model: str(model.get("id", "")),
    "STATE": lambda model: str(model.get("state", "")),
    "FORMAT": lambda model: str(model.get("format", "")),
    "WEIGHTS": lambda model: str(model.get("quantization", "")),
    "PARAMETERS": lambda model: decimal(model.get("parameters", 0)),
    "SIZE": lambda model: num_bytes(model.get("bytes", 0)),
    "CONTEXT": lambda model: str(model.get("context_length", "")),
    "SOURCE": lambda model: str(model.get("source", "")),
    "DOES": lambda model: ", ".join(model.get("tasks", [])),
}
LIST_EXPENDABLE = ("DOES", "FORMAT", "PARAMETERS", "CONTEXT", "SOURCE")

PS_COLUMNS: Columns = {
    "MODEL": LIST_COLUMNS["MODEL"],
    "STATE": lambda model: state(model),  # noqa: PLW0108 (it is defined below)
    "DEVICE": lambda model: str(model.get("device") or ""),
    "MEMORY": lambda model: num_bytes(model.get("memory_bytes", 0)),
    "CONTEXT": LIST_COLUMNS["CONTEXT"],
    "REQUESTS": lambda model: requests(model),  # noqa: PLW0108 (as above)
    "IDLE": lambda model: seconds(model.get("idle_seconds")),
    "UNTIL": lambda model: until(model),  # noqa: PLW0108 (as above)
}
PS_EXPENDABLE = ("CONTEXT", "DEVICE", "IDLE")


def add_parsers(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    listing = commands.add_parser("list", help="list the models that the running server can serve")
    listing.add_argument("--names", action="store_true", help="print the names alone")
    listing.set_defaults(run=run_list)
    running = commands.add_parser("ps", help="list the models that are in memory, or on their way")
    running.add_argument(
        "--watch", action="store_true", help="keep showing them, with tokens per second"
    )
    running.set_defaults(run=run_ps)
    for parser in (listing, running):
        add_url(parser)
        add_json(parser)


def run_list(args: argparse.Namespace) -> None:
    models = _models(args)
    if args.names:
        print("\n".join(str(model["id"]) for model in models))
        return
    show(models, LIST_COLUMNS, args.json, "The server has no models.", LIST_EXPENDABLE)
    if models and not args.json and sys.stdout.isatty():
        print(f"\n{len(models)} models, {num_bytes(disk_bytes(models))} on disk.")


def run_ps(args: argparse.Namespace) -> None:
    if args.watch:
        from gateway.cli.watch import watch

        if args.json:
            raise CommandError("--watch is for people; --json prints how things are now")
        watch(args.url)
        return
    resident = in_memory(_models(args))
    nothing = "No model is loaded; a request loads the one it names."
    show(resident, PS_COLUMNS, args.json, nothing, PS_EXPENDABLE)


def in_memory(models: list[Json]) -> list[Json]:
    """Those that are loaded or on their way; presets are shown by the model that they share."""
    elsewhere = {"unloaded", "remote"}
    own = [model for model in models if model.get("root", model["id"]) == model["id"]]
    return [model for model in own if model.get("state") not in elsewhere]


def disk_bytes(models: list[Json]) -> int:
    """Of all files; presets have none of their own."""
    return sum(m.get("bytes", 0) for m in models if m.get("root", m["id"]) == m["id"])


def state(model: Json) -> str:
    """With how much of a load is done."""
    progress = (model.get("status") or {}).get("progress")
    return f"loading {progress['value']:.0%}" if progress else str(model.get("state", ""))


def requests(model: Json) -> str:
    """Those that it serves, and those that wait for it."""
    waiting = model.get("waiting", 0)
    return f"{model.get('leases', 0)}" + (f" +{waiting} waiting" if waiting else "")


def until(model: Json) -> str:
    """When it leaves by itself, in this machine's time."""
    if model.get("pinned"):
        return "pinned"
    expires_at = model.get("expires_at")
    if expires_at is None:
        return "room is needed"
    return datetime.fromtimestamp(expires_at, UTC).astimezone().strftime("%H:%M:%S")


def _models(args: argparse.Namespace) -> list[Json]:
    from gateway.cli.server import Server

    with Server(args.url) as server:
        return server.models()
