"""A pull as people see it: a bar in a terminal, lines elsewhere."""

import math
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from gateway.hub.reports import Done, Landing, Planned, Report, Retrying, Verifying, Waiting
from gateway.hub.tally import Tally
from gateway.units import shown_bytes

STEP = 0.1
"""Lines tell of a download at every tenth of it."""


def outcome(name: str, done: Done) -> str:
    """The last line: what is there now, and by which name."""
    if not done.is_checked:
        return f"{name}: here already; the hub could not be asked for anything newer"
    size, commit = shown_bytes(done.total_bytes), done.commit[:7]
    if not done.fetched_bytes:
        return f"{name}: up to date ({size}, {commit}), served as {done.model}"
    return f"{name}: pulled ({size}, {commit}), served as {done.model}"


def aside(name: str, report: Report) -> str | None:
    """What deserves a line of its own beside the bytes; None for all else."""
    if isinstance(report, Waiting):
        return f"{name}: another process pulls of {report.repo}; waiting for it"
    if isinstance(report, Retrying):
        return f"{name}: {report.reason}; trying again in {report.seconds:.0f} s"
    return None


def _files(count: int) -> str:
    return "one file" if count == 1 else f"{count} files"


class Lines:
    """For log files and pipes."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._tally = Tally()
        self._next_fraction = math.inf  # until something has to come

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is open."""

    def tell(self, report: Report) -> None:
        self._tally.tell(report)
        if line := self._line(report):
            print(line, flush=True)

    def _line(self, report: Report) -> str | None:
        if isinstance(report, Planned) and report.missing_bytes:
            self._next_fraction = self._tally.fraction + STEP
            missing, total = shown_bytes(report.missing_bytes), shown_bytes(report.total_bytes)
            return f"{self._name}: {missing} of {total} to come, {_files(len(report.files))}"
        if isinstance(report, Done):
            return outcome(self._name, report)
        if self._tally.fraction >= self._next_fraction < 1:
            self._next_fraction = self._tally.fraction + STEP
            return f"{self._name}: {self._tally.fraction:.0%}"
        return aside(self._name, report)


class Bars:
    """For a terminal: one bar for all files, with the one it is at."""

    def __init__(self, name: str, console: Console | None = None) -> None:
        self._name = name
        self._tally = Tally()
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn())
        self._progress = Progress(
            *columns,
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._task = self._progress.add_task(name, total=None)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def tell(self, report: Report) -> None:
        self._tally.tell(report)
        if isinstance(report, Done):
            self._progress.print(outcome(self._name, report), markup=False, highlight=False)
        elif line := aside(self._name, report):
            self._progress.print(line, markup=False, highlight=False)
        self._progress.update(
            self._task,
            description=self._description(report),
            total=self._tally.total_bytes or None,
            completed=self._tally.done_bytes,
            refresh=isinstance(report, Verifying | Landing),
        )

    def _description(self, report: Report) -> str:
        if isinstance(report, Verifying):
            return f"checking {report.file}"
        if isinstance(report, Landing):
            return "putting it in place"
        return self._tally.file or self._name
