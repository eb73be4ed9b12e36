import argparse

DEFAULT_URL = "http://127.0.0.1:8080"


def add_url(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--url", default=DEFAULT_URL, help="where the server is (default: %(default)s)"
    )
