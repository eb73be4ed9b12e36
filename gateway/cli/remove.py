"""`roundhouse rm`: takes models out of the models folder."""

import argparse
import json
import sys
from pathlib import Path

from gateway.cli.errors import CommandError
from gateway.cli.folder import add_folder, read_folder


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("rm", help="remove models from the models folder")
    parser.add_argument("names", nargs="+", metavar="NAME", help="as 'roundhouse list' shows it")
    add_folder(parser)
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--json", action="store_true", help="print JSON; does not ask either")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """A server that runs sees that they are gone; what it has loaded it can go on using."""
    from gateway.hub.errors import HubError
    from gateway.hub.remove import removal_of, remove
    from gateway.units import shown_bytes

    models_dir = read_folder(args).models_dir
    found = _find(models_dir, args.names)
    try:
        removals = {name: removal_of(models_dir, path) for name, path in found.items()}
        for name, removal in removals.items():
            size = shown_bytes(removal.num_bytes)
            if not (args.yes or args.json or _agrees(f"Remove {name} ({size})? [y/N] ")):
                raise CommandError(f"{name} stays")
            remove(models_dir, found[name])
            if not args.json:
                print(f"Removed {name}: {size} are free again.")
    except HubError as error:
        raise CommandError(error.message) from None
    if args.json:
        freed = [{"model": n, "freed_bytes": r.num_bytes} for n, r in removals.items()]
        print(json.dumps(freed, indent=2))


def _find(models_dir: Path, names: list[str]) -> dict[str, Path]:
    """Checkpoints by id; a name is read as the server reads it."""
    from gateway.catalog.names import Names, settle_ids
    from gateway.catalog.scan import find_checkpoints
    from gateway.errors import ModelNotFound

    ids = settle_ids(find_checkpoints(models_dir))
    table = Names(ids, {})
    try:
        return {found: ids[found].path for found in map(table.find, names)}
    except ModelNotFound as error:
        known = ", ".join(ids) or "nothing"
        reason = error.message.replace("see /v1/models", f"{models_dir} has {known}")
        raise CommandError(reason) from None


def _agrees(question: str) -> bool:
    if not sys.stdin.isatty():
        raise CommandError("there is nobody to ask: say --yes")
    return input(question).strip().casefold() in {"y", "yes"}
