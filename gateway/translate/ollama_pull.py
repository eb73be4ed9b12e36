"""A pull's reports in Ollama's words, by which its clients know what to draw."""

from gateway.hub.reports import Landing, Progress, Report, Retrying, Verifying, Waiting
from gateway.ollama.pulls import PullStatus

BEGUN = PullStatus("pulling manifest")
SUCCESS = PullStatus("success")


def read_report(report: Report) -> PullStatus | None:
    """None for what Ollama has no word for."""
    match report:
        case Progress():
            kind = "sha256" if len(report.digest) == 64 else "sha1"
            status, digest = f"pulling {report.digest[:12]}", f"{kind}:{report.digest}"
            return PullStatus(status, digest, report.total, report.done)
        case Verifying():
            return PullStatus("verifying sha256 digest")
        case Landing():
            return PullStatus("writing manifest")
        case Waiting():
            return PullStatus(f"waiting for another pull of {report.repo}")
        case Retrying():
            return PullStatus(f"{report.reason}; trying again in {report.seconds:.0f} s")
    return None
