import argparse

MODEL = "model"
"""The argument that a shell completes with the names of models."""


def add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(MODEL, metavar="MODEL", help="its name, as 'roundhouse list' shows it")
