import argparse

from gateway.version import UNKNOWN, own_version


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    commands.add_parser("version", help="print the version").set_defaults(run=run)


def run(_args: argparse.Namespace) -> None:
    version = own_version()
    print("not installed, run from its sources" if version == UNKNOWN else version)
