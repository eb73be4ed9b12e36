"""A real Prometheus of Debian's that scrapes a gateway, and what it can be asked."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from debian import debian_program
from gateway_process import eventually, free_port

_CONFIG = """\
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [{rules}]
scrape_configs:
  - job_name: roundhouse
    static_configs: [{{targets: ["{target}"]}}]
"""


@dataclass(frozen=True)
class Prometheus:
    url: str

    def ask(self, path: str, **parameters: Any) -> Any:
        """What its HTTP API answers. Raises AssertionError for a question that it cannot read."""
        answer = httpx.get(f"{self.url}/api/v1/{path}", params=parameters).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def value(self, expression: str) -> float:
        """Of the first series, now; 0 if there is none."""
        found = self.ask("query", query=expression)["result"]
        return float(found[0]["value"][1]) if found else 0.0

    def values(self, expression: str, start: float, end: float) -> list[float]:
        """Of all series at all seconds between."""
        found = self.ask("query_range", query=expression, start=start, end=end, step=1)["result"]
        return [float(value) for series in found for _, value in series["values"]]


@contextmanager
def scraping(url: str, folder: Path, rules: Path) -> Iterator[Prometheus]:
    """A Prometheus that asks the gateway at `url` once a second."""
    folder.mkdir()
    config = folder / "prometheus.yml"
    config.write_text(_CONFIG.format(rules=rules, target=url.removeprefix("http://")))
    address = f"127.0.0.1:{free_port()}"
    log = folder / "log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [
                str(debian_program("prometheus", "usr/bin/prometheus")),
                f"--config.file={config}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={address}",
            ],
            stdout=sink,
            stderr=sink,
        )
    try:
        prometheus = Prometheus(f"http://{address}")
        eventually(lambda: process.poll() is not None or _is_ready(prometheus), seconds=60)
        assert process.poll() is None, log.read_text()[-4000:]
        yield prometheus
    finally:
        process.terminate()
        process.wait()


def _is_ready(prometheus: Prometheus) -> bool:
    try:
        return httpx.get(f"{prometheus.url}/-/ready").status_code == 200
    except httpx.TransportError:
        return False
