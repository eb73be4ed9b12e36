"""`roundhouse pull`: brings models of the hub into the models folder."""

import argparse
import json
import sys
from typing import TYPE_CHECKING

from gateway.cli.errors import CommandError
from gateway.cli.folder import add_folder, read_folder

if TYPE_CHECKING:
    from gateway.config import HubSettings
    from gateway.hub.access import Access
    from gateway.hub.pull import Puller
    from gateway.hub.reference import Reference
    from gateway.hub.reports import Done


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("pull", help="bring models of the Hugging Face hub here")
    parser.add_argument(
        "names",
        nargs="+",
        metavar="ORG/NAME[:CHOICE]",
        help="CHOICE: a quantisation as Q4_K_M, a file, or 'safetensors' (default: Q4_K_M, else "
        "Q8_0, else safetensors)",
    )
    add_folder(parser)
    parser.add_argument("--revision", default="main", help="a branch, tag or commit")
    parser.add_argument("--endpoint", metavar="URL", help="a mirror of the hub")
    parser.add_argument("--offline", action="store_true", help="only see whether they are here")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Stops at the first that fails; those before it are there."""
    from gateway.hub.errors import HubError
    from gateway.hub.pull import Puller
    from gateway.hub.reference import read_reference

    settings = read_folder(args)
    try:
        references = [read_reference(name, args.revision) for name in args.names]
        settings.models_dir.mkdir(parents=True, exist_ok=True)
        puller = Puller(settings.models_dir, _access(args, settings.hub))
        pulled = [_pull(puller, reference, is_json=args.json) for reference in references]
    except HubError as error:
        raise CommandError(error.message) from None
    except OSError as error:
        raise CommandError(f"{error.filename}: {error.strerror}") from None
    if args.json:
        import msgspec

        print(json.dumps([_shown(msgspec.to_builtins(done)) for done in pulled], indent=2))


def _access(args: argparse.Namespace, hub: "HubSettings") -> "Access":
    from gateway.hub.access import Access

    endpoint = args.endpoint or hub.endpoint
    return Access(endpoint, is_offline=args.offline or hub.offline)


def _pull(puller: "Puller", reference: "Reference", *, is_json: bool) -> "Done":
    from gateway.cli.pulling import Bars, Lines

    if is_json:
        return puller.pull(reference)
    view = Bars(str(reference)) if sys.stdout.isatty() else Lines(str(reference))
    with view:
        return puller.pull(reference, view.tell)


def _shown(done: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in done.items() if name != "type"}
