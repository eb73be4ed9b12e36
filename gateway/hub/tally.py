"""How far a pull is, from what it reports."""

from gateway.hub.reports import Planned, Progress, Report


class Tally:
    """total_bytes: of all files, once they are known. done_bytes: of them that are here."""

    def __init__(self) -> None:
        self.total_bytes = 0
        self.file = ""
        self._present_bytes = 0
        self._first: dict[str, int] = {}
        self._last: dict[str, int] = {}

    def tell(self, report: Report) -> None:
        if isinstance(report, Planned):
            self.total_bytes = report.total_bytes
            self._present_bytes = report.total_bytes - report.missing_bytes
        elif isinstance(report, Progress):
            self.file = report.file
            self._first.setdefault(report.file, report.done)
            self._last[report.file] = report.done

    @property
    def done_bytes(self) -> int:
        """Counts back where a file has to come anew."""
        return self._present_bytes + sum(self._last.values()) - sum(self._first.values())

    @property
    def fraction(self) -> float:
        return self.done_bytes / self.total_bytes if self.total_bytes else 0.0
