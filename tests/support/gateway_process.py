"""A real gateway in a process of its own, with real workers and models, on a loopback port."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
from openai import OpenAI

ROOT = Path(__file__).parents[2]
START_SECONDS = 90


@dataclass
class Gateway:
    """A running `roundhouse serve`."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    def __post_init__(self) -> None:
        self.sdk = OpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0)

    def child(self, module: str) -> psutil.Process:
        """The process of ours that runs this module."""
        for process in self.children(module):
            return process
        raise AssertionError(f"no {module} process")

    def children(self, module: str) -> list[psutil.Process]:
        """The processes of ours that run this module, such as a worker for each device."""
        processes = psutil.Process(self.process.pid).children(recursive=True)
        return [process for process in processes if module in process.cmdline()]

    def state(self, model: str) -> str:
        return httpx.get(f"{self.url}/v1/models/{model}").json()["status"]["value"]

    def stop(self) -> None:
        self.sdk.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(models: Path, log: Path, *arguments: str) -> Gateway:
    """Starts a gateway and waits until it is ready."""
    port = free_port()
    command = [sys.executable, "-m", "gateway", "serve", "--models-dir", str(models)]
    command += ["--port", str(port), *arguments]
    # images of weights stay with the test
    environment = os.environ | {"XDG_CACHE_HOME": str(log.parent / "cache")}
    with log.open("wb") as sink:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=sink, stderr=sink)
    gateway = Gateway(process, f"http://127.0.0.1:{port}", log)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{gateway.url}/readyz").status_code == 200:
                return gateway
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    gateway.stop()
    raise AssertionError(f"the gateway did not start:\n{log.read_text()[-4000:]}")


def eventually(fact: Callable[[], bool], seconds: float = 10) -> None:
    """Waits for a fact that another process brings about."""
    deadline = time.monotonic() + seconds
    while not fact():
        if time.monotonic() > deadline:
            raise AssertionError("it did not happen")
        time.sleep(0.05)
