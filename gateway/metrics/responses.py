"""What was answered over HTTP, whichever model was meant."""

from prometheus_client import CollectorRegistry, Counter

NO_ROUTE = "none"
"""Paths that nothing answers are one series."""

MAX_CODES = 64
"""Other servers make up codes of their own: beyond so many, they are all "other"."""

METHODS = frozenset({"GET", "POST", "DELETE", "PUT", "PATCH", "HEAD", "OPTIONS"})


class Responses:
    """Labels name routes as they are declared, never as clients call them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._codes: set[str] = set()
        self._responses = Counter(
            "roundhouse_http_responses",
            "Answers by route and status; 0 if there was none.",
            ("route", "method", "status"),
            registry=registry,
        )
        self._errors = Counter(
            "roundhouse_errors",
            "Errors that clients were told of, by code, late ones in streams among them.",
            ("code",),
            registry=registry,
        )

    def count(self, route: str, method: str, status: int, error_code: str) -> None:
        """error_code: "" where it was none."""
        method = method if method in METHODS else "other"
        self._responses.labels(route or NO_ROUTE, method, str(status)).inc()
        if error_code:
            self._errors.labels(self._known(error_code)).inc()

    def _known(self, code: str) -> str:
        if code not in self._codes and len(self._codes) >= MAX_CODES:
            return "other"
        self._codes.add(code)
        return code
