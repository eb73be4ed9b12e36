"""A rendered pod, run here as a process, from its start to its end."""

import os
import shutil
import signal
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from gateway_process import ROOT, eventually, free_port
from helm import render
from pod import Kubelet, Pod

SCALED = {
    "probes": {
        "startup": {"periodSeconds": 1, "failureThreshold": 90},
        "liveness": {"periodSeconds": 1, "failureThreshold": 3},
        "readiness": {"periodSeconds": 1, "timeoutSeconds": 5, "failureThreshold": 1},
    },
    "drain": {"preStopSeconds": 1, "seconds": 5, "graceSeconds": 25},
}
"""The chart's timings, ten to sixty times shorter, with a grace for machines that are busy."""
MODEL = "llama-plain-F32"
ASKED = {"model": MODEL, "prompt": "once", "temperature": 0, "ignore_eos": True}
PROBES_OF_A_SLOW_LOAD = 5
"""More than liveness has failures to spare, and less than makes a worker stuck (10 s)."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="another user and a mount namespace need root"),
]


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    """The chart's pod with a tiny model in its cache."""
    values = SCALED | {"extraEnv": [{"name": "ROUNDHOUSE_PORT", "value": str(free_port())}]}
    volumes = {name: tmp_path / name for name in ("models", "cache", "tmp", "config")}
    for folder in volumes.values():
        folder.mkdir()
    shutil.copy(ROOT / f"tests/fixtures/llama-plain/{MODEL}.gguf", volumes["models"])
    return Pod(render(values), volumes, tmp_path / "root", tmp_path / "log")


def test_a_pod_from_start_to_end(pod: Pod):
    """Ready before any model is loaded, alive through a slow load, drained within its grace."""
    with Kubelet(pod, pod.start()) as kubelet, ThreadPoolExecutor() as pool:
        eventually(lambda: kubelet.is_ready or kubelet.process.poll() is not None, 90)
        assert kubelet.is_ready, pod.log.read_text()[-3000:]
        assert _state(pod) == "unloaded"
        _check_rights(kubelet.process.pid)

        _load_slowly(pod, kubelet, pool)
        assert kubelet.turns == [True]

        stream = pool.submit(_stream, pod, began := Future())
        began.result()
        leaving = pool.submit(kubelet.terminate)
        eventually(lambda: kubelet.turns == [True, False])
        seconds = leaving.result()

        assert "data: [DONE]" in stream.result() or "error" in stream.result()[-2]
        assert seconds < pod.spec["terminationGracePeriodSeconds"]
        assert kubelet.process.returncode == 0
        assert kubelet.failures == []
    assert list(pod.volumes["models"].glob(".images/*"))
    assert (pod.volumes["models"] / ".images").stat().st_uid == 10001


def test_a_pod_that_is_told_to_go_still_serves_while_it_pauses(pod: Pod):
    """Until preStop is over, requests of those who have not heard of it are answered."""
    with Kubelet(pod, pod.start()) as kubelet, ThreadPoolExecutor() as pool:
        eventually(lambda: kubelet.is_ready or kubelet.process.poll() is not None, 90)
        assert kubelet.is_ready, pod.log.read_text()[-3000:]
        leaving = pool.submit(kubelet.terminate)

        assert _ask(pod).status_code == 200
        leaving.result()
        assert kubelet.process.returncode == 0


def _load_slowly(pod: Pod, kubelet: Kubelet, pool: ThreadPoolExecutor) -> None:
    """The worker is stopped while it should load; probes go on, then the request is answered."""
    (worker,) = (
        one
        for one in psutil.Process(kubelet.process.pid).children(recursive=True)
        if "engine.worker" in one.cmdline()
    )
    worker.send_signal(signal.SIGSTOP)
    answer = pool.submit(_ask, pod)
    until = kubelet.rounds + PROBES_OF_A_SLOW_LOAD
    eventually(lambda: kubelet.rounds >= until, 30)
    assert not answer.done()
    worker.send_signal(signal.SIGCONT)

    assert answer.result().status_code == 200


def _check_rights(pid: int) -> None:
    """The process is the chart's user, with no capability, and can get none."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    status = dict(line.split(":", 1) for line in lines)

    assert status["Uid"].split() == ["10001"] * 4
    assert status["Gid"].split() == ["10001"] * 4
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    assert status["NoNewPrivs"].strip() == "1"


def _url(pod: Pod) -> str:
    return f"http://127.0.0.1:{pod.port}/v1"


def _state(pod: Pod) -> str:
    reply = httpx.get(f"{_url(pod)}/models/{MODEL}", timeout=60)
    return str(reply.json()["status"]["value"])


def _ask(pod: Pod) -> httpx.Response:
    return httpx.post(f"{_url(pod)}/completions", json=ASKED | {"max_tokens": 4}, timeout=60)


def _stream(pod: Pod, began: "Future[None]") -> list[str]:
    """The lines of a stream that lasts a while; `began` is resolved at its first token."""
    body = ASKED | {"max_tokens": 1900, "stream": True}
    lines = []
    with httpx.stream("POST", f"{_url(pod)}/completions", json=body, timeout=60) as reply:
        for line in filter(None, reply.iter_lines()):
            lines.append(line)
            if line.startswith("data:") and not began.done():
                began.set_result(None)
    return lines
