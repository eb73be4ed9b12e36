import json
import os
import socket
import subprocess
import sys

import pytest


def doctor(**environment: str) -> dict[str, dict[str, str]]:
    """Findings by name, with something changed around it."""
    command = [sys.executable, "-m", "gateway", "doctor", "--json"]
    done = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, check=True
    )
    return {each["name"]: each for each in json.loads(done.stdout)}


@pytest.fixture(autouse=True)
def models(tmp_path, monkeypatch):
    """A folder to serve, and a port that nobody has."""
    (tmp_path / "models").mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        monkeypatch.setenv("ROUNDHOUSE_PORT", str(probe.getsockname()[1]))
    monkeypatch.setenv("ROUNDHOUSE_MODELS_DIR", str(tmp_path / "models"))


def test_what_is_there_is_said(roundhouse):
    """A line for each thing that counts."""
    said = roundhouse("doctor")

    for name in (
        "python",
        "torch",
        "cpu threads",
        "native kernels",
        "computes in",
        "memory",
        "port",
    ):
        assert name in said


def test_what_is_lost_is_said():
    """Without native kernels everything runs, and the doctor says at what price."""
    found = doctor(ROUNDHOUSE_NATIVE="0")["native kernels"]

    assert "ROUNDHOUSE_NATIVE" in found["value"]
    assert "torch" in found["lost"]
    assert "compiler" in found["mend"]


def test_what_is_wrong_is_an_error(roundhouse, monkeypatch):
    """So that a script sees that nothing can be served."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        monkeypatch.setenv("ROUNDHOUSE_PORT", str(other.getsockname()[1]))
        monkeypatch.setattr("gateway.cli.doctor._readiness", lambda _: None)
        monkeypatch.setattr("gateway.cli.doctor._engine", list)

        with pytest.raises(SystemExit, match="port"):
            roundhouse("doctor")
