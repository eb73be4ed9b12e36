"""The `roundhouse` command."""

import argparse
import os
import sys
from collections.abc import Sequence

from gateway.cli import (
    bench,
    chat,
    completion,
    config,
    demo,
    disk,
    doctor,
    families,
    keys,
    models,
    plan,
    pull,
    remove,
    residence,
    serve,
    show,
    version,
)
from gateway.cli.errors import CommandError


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="roundhouse",
        description="One OpenAI-compatible endpoint in front of a pool of models.",
    )
    commands = made.add_subparsers(metavar="COMMAND", required=True)
    serve.add_parser(commands)
    models.add_parsers(commands)
    show.add_parser(commands)
    residence.add_parsers(commands)
    plan.add_parser(commands)
    bench.add_parser(commands)
    disk.add_parser(commands)
    chat.add_parser(commands)
    demo.add_parser(commands)
    pull.add_parser(commands)
    remove.add_parser(commands)
    keys.add_parser(commands)
    families.add_parser(commands)
    config.add_parser(commands)
    doctor.add_parser(commands)
    completion.add_parser(commands, made)
    version.add_parser(commands)
    return made


def main(argv: Sequence[str] | None = None) -> None:
    """Runs one command. Exits with 1 and one line when it cannot go on, with 2 on a bad call."""
    args = parser().parse_args(argv)
    try:
        args.run(args)
        sys.stdout.flush()
    except CommandError as error:
        sys.exit(f"roundhouse: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # Whoever read us (head, less) has seen enough. Python would complain again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)


if __name__ == "__main__":
    main()
