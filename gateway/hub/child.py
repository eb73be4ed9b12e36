"""The process of one pull: `python -m gateway.hub.child`.

Its order comes as a line of JSON; its reports leave as such lines. It is a process of its own so that
checking gigabytes holds up nobody, and so that it can be ended by a signal at any point. It ends
itself when its input does, which is when its gateway is gone.
"""

import os
import sys
import threading
import time
from pathlib import Path
from typing import BinaryIO

import msgspec
from msgspec import Struct

from gateway.hub.access import Access
from gateway.hub.errors import HubError
from gateway.hub.pull import Puller
from gateway.hub.reference import Reference
from gateway.hub.reports import Failed, Progress, Report

PROGRESS_SECONDS = 0.2


class Order(Struct, frozen=True):
    """As `Reference` and `Access` have it; a token comes by the environment alone."""

    models_dir: str
    repo: str
    choice: str | None
    revision: str
    endpoint: str | None
    is_offline: bool


def main() -> None:
    order = msgspec.json.decode(sys.stdin.buffer.readline(), type=Order)
    threading.Thread(target=_end_with_input, args=(sys.stdin.buffer,), daemon=True).start()
    reference = Reference(order.repo, order.choice, order.revision)
    access = Access(order.endpoint, is_offline=order.is_offline)
    tell = Teller(sys.stdout.buffer)
    try:
        Puller(Path(order.models_dir), access).pull(reference, tell)
    except HubError as error:
        tell(Failed(error.code, error.message))


class Teller:
    """Writes reports, of a file's progress not more than anyone can watch."""

    def __init__(self, sink: BinaryIO) -> None:
        self._sink = sink
        self._next = 0.0

    def __call__(self, report: Report) -> None:
        if isinstance(report, Progress) and report.done < report.total:
            if time.monotonic() < self._next:
                return
            self._next = time.monotonic() + PROGRESS_SECONDS
        self._sink.write(msgspec.json.encode(report) + b"\n")
        self._sink.flush()


def _end_with_input(source: BinaryIO) -> None:
    source.read()
    os._exit(1)  # whatever it is at: a pull can be ended anywhere


if __name__ == "__main__":
    main()
