import argparse
from importlib.metadata import PackageNotFoundError, version


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    commands.add_parser("version", help="print the version").set_defaults(run=run)


def run(_args: argparse.Namespace) -> None:
    try:
        print(version("roundhouse"))
    except PackageNotFoundError:
        print("not installed, run from its sources")
