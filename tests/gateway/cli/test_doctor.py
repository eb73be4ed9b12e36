import json
import os
import subprocess
import sys


def doctor(**environment: str) -> dict[str, dict[str, str]]:
    """Findings by name, with something changed around it."""
    command = [sys.executable, "-m", "gateway", "doctor", "--json"]
    done = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, check=True
    )
    return {each["name"]: each for each in json.loads(done.stdout)}


def test_what_is_there_is_said(roundhouse):
    """A line for each thing that counts."""
    said = roundhouse("doctor")

    for name in ("python", "torch", "cpu threads", "native kernels", "computes in"):
        assert name in said


def test_what_is_lost_is_said():
    """Without native kernels everything runs, and the doctor says at what price."""
    found = doctor(ROUNDHOUSE_NATIVE="0")["native kernels"]

    assert "ROUNDHOUSE_NATIVE" in found["value"]
    assert "torch" in found["lost"]
