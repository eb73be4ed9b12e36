"""`roundhouse families`: which models can be served, whether or not any is at hand."""

import argparse
import json
import subprocess
import sys

from gateway.cli.errors import CommandError
from gateway.cli.tables import Columns, show

COLUMNS: Columns = {
    "FAMILY": lambda family: str(family["name"]),
    "MODEL TYPES": lambda family: ", ".join(family["model_types"]),
    "GGUF": lambda family: ", ".join(family["gguf_architectures"]),
    "WHAT IT IS": lambda family: str(family["description"]),
}


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "list the families of models that can be served"
    parser = commands.add_parser("families", help=text)
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument("--json", action="store_true", help="print JSON, weight formats included")
    forms.add_argument("--markdown", action="store_true", help="print docs/models.md")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    if args.markdown:
        print(_ask(), end="")
        return
    known = json.loads(_ask("--json"))
    if args.json:
        print(json.dumps(known, indent=2))
        return
    show(known["families"], COLUMNS, as_json=False, if_empty="No family is known.")
    print(f"\nWeight formats: {', '.join(known['formats'])}")


def _ask(*options: str) -> str:
    """What the engine says. Its registry imports torch, so it is asked in a process of its own."""
    command = [sys.executable, "-m", "engine.families", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 (ours)
    if done.returncode:
        raise CommandError(f"the engine's registry cannot be read: {done.stderr.strip()[-500:]}")
    return done.stdout
