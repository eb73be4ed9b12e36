"""`roundhouse load`, `unload`, `pin` and `unpin`: have a model come, go or stay."""

import argparse
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from gateway.cli.errors import CommandError
from gateway.cli.names import add_model
from gateway.cli.tables import Json, add_json, num_bytes, print_json, seconds
from gateway.cli.url import add_url

if TYPE_CHECKING:
    from gateway.cli.server import Server

LOOK_SECONDS = 0.2
"""Between two looks at a model that is on its way."""

Do = Callable[["Server", argparse.Namespace], str]
"""Has the server do it; what to say of it."""


def add_parsers(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parsers = {}
    for name, do, text in (
        ("load", load, "have the server load a model, and wait until it is there"),
        ("unload", unload, "have a model leave memory, once its requests have ended"),
        ("pin", pin, "keep a model in memory once it is loaded, whoever needs its room"),
        ("unpin", unpin, "let a model make room again"),
    ):
        parsers[name] = parser = commands.add_parser(name, help=text)
        add_model(parser)
        add_url(parser)
        add_json(parser)
        parser.set_defaults(run=_runner(do))
    parsers["load"].add_argument(
        "--keep-alive", metavar="TIME", help="how long it stays without requests, as 30m"
    )
    parsers["unload"].add_argument(
        "--force", action="store_true", help="end its requests instead of waiting for them"
    )


def load(server: "Server", args: argparse.Namespace) -> str:
    """The server answers when it has the order; that it is done, the model's state tells."""
    body: Json = {"model": args.model}
    if args.keep_alive is not None:
        body["keep_alive"] = args.keep_alive
    server.post("/v1/models/load", body)
    while (model := server.model(args.model))["state"] != "loaded":
        if model["state"] == "unloaded" and not model["waiting"]:
            raise CommandError(_why_not(server, args.model))
        _show_progress(model)
        time.sleep(LOOK_SECONDS)
    _show_progress(None)
    took = seconds(model.get("load_seconds")) or "no time"
    memory = num_bytes(model.get("memory_bytes", 0))
    return f"{model['id']} is loaded on {model['device']}: {memory}, in {took}."


def unload(server: "Server", args: argparse.Namespace) -> str:
    server.post("/v1/models/unload", {"model": args.model, "force": args.force})
    model = server.model(args.model)
    if model["state"] != "unloaded" and model.get("leases"):
        return f"{model['id']} leaves when its {model['leases']} requests have ended."
    return f"{model['id']} leaves memory."


def pin(server: "Server", args: argparse.Namespace) -> str:
    server.post("/v1/models/pin", {"model": args.model})
    model = server.model(args.model)
    when = "" if model["state"] == "loaded" else " once it is loaded"
    return f"{model['id']} stays in memory{when}, until the server ends or 'roundhouse unpin'."


def unpin(server: "Server", args: argparse.Namespace) -> str:
    server.post("/v1/models/unpin", {"model": args.model})
    return f"{server.model(args.model)['id']} may make room again."


def _runner(do: Do) -> Callable[[argparse.Namespace], None]:
    def run(args: argparse.Namespace) -> None:
        from gateway.cli.server import Server

        with Server(args.url) as server:
            said = do(server, args)
            if args.json:
                print_json(server.model(args.model))
            else:
                print(said)

    return run


def _why_not(server: "Server", name: str) -> str:
    """What would be answered now, which is why it has just failed."""
    plan = server.post("/v1/models/plan", {"model": name})
    if plan.get("refusal"):
        return str(plan["refusal"]["error"]["message"])
    return (
        f"{name} is not in memory: its load failed, or it made room at once for others that wait. "
        "The server's log says which; a pinned model stays"
    )


def _show_progress(model: Json | None) -> None:
    """On one line, for people; nothing once it is done."""
    if not sys.stderr.isatty():
        return
    text = ""
    if model is not None:
        progress = (model.get("status") or {}).get("progress")
        text = f"loading {progress['value']:.0%}" if progress else "waiting for room"
    print(f"\r\x1b[2K{text}", end="", file=sys.stderr, flush=True)
