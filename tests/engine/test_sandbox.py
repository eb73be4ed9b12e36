import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

import engine
from engine.sandbox import Child, SandboxError

HANDLERS = """
import os, sys, time
from engine.sandbox import serve

def handler(payload):
    match payload:
        case b"pid":
            return str(os.getpid()).encode()
        case b"sleep":
            time.sleep(60)
        case b"spin":
            while True:
                pass
        case b"exit":
            os._exit(3)
        case b"raise":
            raise ValueError
        case b"print":
            print("not a frame", flush=True)
        case b"memory":
            try:
                return str(len(bytearray(1 << 30))).encode()
            except MemoryError:
                return b"no memory"
        case b"big":
            return bytes(1 << 20)
    return payload[::-1]

serve(handler, cpu_seconds=float(os.environ.get("CPU_SECONDS", "60")))
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module for children to run."""
    (tmp_path / "handlers.py").write_text(HANDLERS)
    repository = Path(engine.__file__).parents[1]
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{repository}")
    return "handlers"


@pytest.fixture
def start(module: str) -> Iterator[Callable[..., Child]]:
    """Makes children that are gone after the test."""
    children: list[Child] = []

    def start(deadline_seconds: float = 60.0, **limits: int) -> Child:
        limits = {"memory_bytes": 512 * 2**20} | limits
        children.append(Child(module, deadline_seconds=deadline_seconds, **limits))
        return children[-1]

    yield start
    for child in children:
        child.close()


async def test_one_child_answers_many_calls(start):
    """Calls are answered in turn by the same process, whatever their size."""
    child = start()

    replies = await asyncio.gather(*(child.call(f"{i}".encode()) for i in range(10, 20)))

    assert replies == [f"{i}".encode()[::-1] for i in range(10, 20)]
    assert await child.call(b"pid") == await child.call(b"pid")
    assert await child.call(b"") == b""
    assert await child.call(bytes(3_000_000)) == bytes(3_000_000)


@pytest.mark.parametrize(
    ("payload", "deadline_seconds", "reason"),
    [(b"sleep", 0.2, "timeout"), (b"exit", 60.0, "died"), (b"raise", 60.0, "died")],
)
async def test_a_child_that_does_not_answer_is_replaced(start, payload, deadline_seconds, reason):
    """A call that hangs or kills its child fails; the next one finds a new child."""
    child = start(deadline_seconds)

    with pytest.raises(SandboxError) as caught:
        await child.call(payload)

    assert caught.value.reason == reason
    assert child.pid is None
    assert await child.call(b"ab") == b"ba"


async def test_processor_time_is_bounded_for_each_call(start, monkeypatch):
    """A busy loop is killed by the kernel, well before the deadline."""
    monkeypatch.setenv("CPU_SECONDS", "0.5")
    child = start()

    with pytest.raises(SandboxError, match="died"):
        await child.call(b"spin")


async def test_memory_is_bounded(start):
    """The address space is limited to what was asked for."""
    assert await start().call(b"memory") == b"no memory"
    assert await start(memory_bytes=4 * 2**30).call(b"memory") == str(2**30).encode()


async def test_a_reply_that_is_too_large_is_refused(start):
    """A child cannot fill its parent's memory."""
    with pytest.raises(SandboxError) as caught:
        await start(max_reply_bytes=2**16).call(b"big")

    assert caught.value.reason == "too_large"


async def test_what_the_handler_prints_is_no_frame(start):
    """Stray output does not get between the frames."""
    assert await start().call(b"print") == b"tnirp"


async def test_a_cancelled_call_takes_its_child_along(start):
    """A reply that nobody waits for must not be taken for the next one's."""
    child = start()
    old = await child.call(b"pid")
    call = asyncio.create_task(child.call(b"sleep"))
    await asyncio.sleep(0)

    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    assert await child.call(b"pid") != old


async def test_close_ends_the_child(start):
    """After `close` the process is gone."""
    child = start()
    pid = int(await child.call(b"pid"))

    child.close()

    assert not psutil.pid_exists(pid)


def test_a_child_dies_with_its_parent(module):
    """Also when the parent is killed and can tell nobody."""
    parent_code = (
        "import asyncio; from engine.sandbox import Child\n"
        "async def main():\n"
        f"    child = Child({module!r}, deadline_seconds=60, memory_bytes=None)\n"
        "    print((await child.call(b'pid')).decode(), flush=True)\n"
        "    await child.call(b'sleep')\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", parent_code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))

        parent.send_signal(signal.SIGKILL)

        child.wait(timeout=10)
        assert not child.is_running()
