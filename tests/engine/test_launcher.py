"""Processes are started with a channel, and end with it."""

import asyncio
from pathlib import Path

from engine.launcher import Backoff, LocalLauncher, Program
from engine.wire import TextCommand, TextReady

CHILD = """
import socket, sys
connection = socket.socket(fileno=int(sys.argv[sys.argv.index("--control-fd") + 1]))
connection.sendall(b"\\x10\\x00\\x00\\x00\\x81\\xa4type\\xa9TextReady")
connection.recv(1)
"""


async def test_a_process_speaks_on_its_channel_and_leaves_when_it_closes(
    tmp_path: Path, monkeypatch
):
    """A child's frames arrive typed; closing the channel ends it without force."""
    (tmp_path / "scripted_child.py").write_text(CHILD)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    process = await LocalLauncher().launch(Program("child", "scripted_child", (), TextReady))

    assert await process.channel.receive() == TextReady()
    assert await process.end() == 0


async def test_a_process_that_does_not_leave_is_killed(tmp_path: Path, monkeypatch):
    """Ending is bounded in time."""
    (tmp_path / "deaf_child.py").write_text("import time\ntime.sleep(600)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr("engine.launcher.EXIT_SECONDS", 0.2)
    process = await LocalLauncher().launch(Program("deaf", "deaf_child", (), TextCommand))

    assert await asyncio.wait_for(process.end(), 10) == -9


def test_restarts_slow_down_and_are_forgiven():
    """A crash loop backs off; an hour of health starts the count afresh."""
    backoff = Backoff()

    assert [backoff.after(0.1) for _ in range(3)] == [0.2, 0.4, 0.8]
    assert backoff.after(3600) == 0.2
