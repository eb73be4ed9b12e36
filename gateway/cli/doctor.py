"""`roundhouse doctor`: what this machine offers, and what is lost because of what it lacks."""

import argparse
import json
import subprocess
import sys

from gateway.cli.errors import CommandError


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "examine this machine: what the engine finds, and what it does without"
    parser = commands.add_parser("doctor", help=text)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Prints every finding; whatever is lost is said beside it."""
    found = _ask()
    if args.json:
        print(json.dumps(found, indent=2))
        return
    width = max(len(each["name"]) for each in found)
    for each in found:
        print(f"{each['name']:{width}}  {each['value']}")
        if each["lost"]:
            print(f"{'':{width}}  lost: {each['lost']}")


def _ask() -> list[dict[str, str]]:
    """What the engine finds. It imports torch, so it is asked in a process of its own."""
    command = [sys.executable, "-m", "engine.doctor"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 (ours)
    if done.returncode:
        raise CommandError(f"the engine cannot be examined: {done.stderr.strip()[-500:]}")
    found: list[dict[str, str]] = json.loads(done.stdout)
    return found
