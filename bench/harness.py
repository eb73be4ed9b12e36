"""What the benchmarks share: a real gateway in processes of its own, and tables of figures."""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import httpx
import psutil
from figures import Row, markdown
from openai import AsyncOpenAI

CHAT_MODEL = "SmolLM2-135M-Instruct-Q4_1"
BASE_MODEL = "gemma-3-270m-Q4_K_M"


@dataclass(frozen=True)
class Gateway:
    """A running `roundhouse serve`."""

    url: str
    process: psutil.Process

    def client(self) -> AsyncOpenAI:
        return AsyncOpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0)

    def states(self) -> dict[str, str]:
        """Model id -> state."""
        listed = httpx.get(f"{self.url}/v1/models", timeout=30).json()["data"]
        return {model["id"]: model["state"] for model in listed}

    def rss(self) -> list[Row]:
        """Resident bytes of each process: what it maps of model files counts as well."""
        processes = [self.process, *self.process.children(recursive=True)]
        return [
            {"process": _role(process), "RSS MiB": round(process.memory_info().rss / 2**20)}
            for process in processes
        ]


def arguments(description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--models-dir", type=Path, default=Path("models"))
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--json", action="store_true", help="print JSON instead of Markdown")
    return parser


@contextmanager
def gateway(
    models_dir: Path,
    memory: str,
    dtype: str,
    needed: AbstractSet[str] = frozenset({CHAT_MODEL, BASE_MODEL}),
    options: Sequence[str] = (),
) -> Iterator[Gateway]:
    """Starts a gateway on a free port, waits until it knows its models, and stops it again."""
    command = [sys.executable, "-m", "gateway", "serve", "--port", "0"]
    command += ["--models-dir", str(models_dir), "--memory", memory, "--dtype", dtype]
    command += options
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            url = _read_url(process)
            running = Gateway(url, psutil.Process(process.pid))
            absent = needed - running.states().keys()
            if absent:
                raise SystemExit(f"{models_dir} lacks {sorted(absent)}: 'make models' brings them")
            yield running
        finally:
            process.terminate()


def _read_url(process: "subprocess.Popen[str]") -> str:
    """Reads what the server says of itself, up to the line to try, when all is inspected."""
    url = ""
    for line in process.stdout or ():
        if line.startswith("Roundhouse listens on "):
            url = line.split()[-1]
        if line.startswith("Try:"):
            return url
    raise SystemExit("the gateway did not start; its log is above")


def _role(process: psutil.Process) -> str:
    """The module that a process runs."""
    words = process.cmdline()
    return words[words.index("-m") + 1] if "-m" in words else process.name()


def spread(seconds: Sequence[float]) -> Row:
    """Milliseconds: the median, and how far the rest lies from it."""
    in_ms = [1000 * value for value in seconds]
    return {
        "median ms": round(median(in_ms)),
        "min ms": round(min(in_ms)),
        "max ms": round(max(in_ms)),
        "n": len(in_ms),
    }


def report(tables: dict[str, list[Row]], as_json: bool) -> None:
    if as_json:
        print(json.dumps(tables, indent=2))
        return
    for title, rows in tables.items():
        print(f"\n{title}\n\n{markdown(rows)}")
