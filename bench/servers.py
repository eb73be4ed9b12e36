"""The two servers of a model: our gateway and llama-server, each in processes of its own."""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import psutil
from harness import gateway
from peer import tool

_START_SECONDS = 120


@dataclass(frozen=True)
class Server:
    """base_bytes: what its processes took before they had a model; None where they never had none."""

    url: str
    model: str
    process: psutil.Process
    base_bytes: int | None = None

    def memory_bytes(self) -> int:
        return memory_bytes(self.process)


def memory_bytes(process: psutil.Process) -> int:
    """Of a process and its children: resident bytes, those that they share counted once."""
    family = [process, *process.children(recursive=True)]
    return sum(member.memory_full_info().pss for member in family)


@contextmanager
def ours(path: Path, memory: str, dtype: str) -> Iterator[Server]:
    """Our gateway with this model alone."""
    with TemporaryDirectory() as folder:
        (Path(folder) / path.name).symlink_to(path.resolve())
        with gateway(Path(folder), memory, dtype, needed={path.stem}) as running:
            base = memory_bytes(running.process)
            yield Server(running.url, path.stem, running.process, base)


@contextmanager
def theirs(path: Path, num_slots: int, context: int) -> Iterator[Server]:
    """llama-server with so many slots, which share a context of that many tokens."""
    with llama_server("-m", str(path), "-np", str(num_slots), "-c", str(context)) as server:
        yield Server(server.url, path.stem, server.process)


@contextmanager
def llama_server(*arguments: str) -> Iterator[Server]:
    """With its threads at their best for this machine, on a free port."""
    port = free_port()
    command = [tool("llama-server"), "--port", str(port), "-t", "2", "--no-ui", *arguments]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            wait_until_healthy(f"{url}/health", process)
            yield Server(url, "", psutil.Process(process.pid))
        finally:
            process.terminate()


def wait_until_healthy(url: str, process: "subprocess.Popen[bytes]") -> None:
    """Until this URL answers well; of llama-server that is with its model loaded."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(url, timeout=5).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise SystemExit(f"{process.args[0]} did not start")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
