"""`roundhouse completion SHELL`: a script that completes commands, options and names of models."""

import argparse
from collections.abc import Iterator
from functools import partial

from gateway.cli.names import MODEL

SHELLS = ("bash", "zsh", "fish")

_NAMES = "roundhouse list --names 2>/dev/null"

_HOW = """\
bash: roundhouse completion bash > ~/.local/share/bash-completion/completions/roundhouse
zsh:  roundhouse completion zsh > a file _roundhouse in a folder of $fpath
fish: roundhouse completion fish > ~/.config/fish/completions/roundhouse.fish"""


def add_parser(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", whole: argparse.ArgumentParser
) -> None:
    """whole: the parser of all commands, which is read when a script is asked for."""
    parser = commands.add_parser(
        "completion",
        help="print a script that has a shell complete this command",
        description="Names of models are completed while the server runs.",
        epilog=_HOW,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("shell", choices=SHELLS)
    parser.set_defaults(run=partial(run, whole))


def run(whole: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    import shtab

    for argument in _models(whole):
        argument.complete = shtab.cmd(_NAMES)  # type: ignore[attr-defined] # shtab's own
    print(shtab.complete(whole, args.shell))


def _models(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Every argument that is a model's name."""
    for action in parser._actions:  # noqa: SLF001 (argparse has no other way, shtab does so too)
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 (as above)
            for each in action.choices.values():
                yield from _models(each)
        elif action.dest == MODEL:
            yield action
