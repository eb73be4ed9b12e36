"""Work that may hang, crash or eat memory, in a child process that can be killed.

The parent asks through a `Child`; the child's module calls `serve`. Frames are length-prefixed
bytes on stdin and stdout; the child ends with its stdin, and the kernel kills it with its parent.
"""

import asyncio
import contextlib
import math
import os
import resource
import struct
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Literal

from engine.process import die_with_parent

_LENGTH = struct.Struct("<Q")
_READY = b"ready"
START_SECONDS = 60.0
MAX_REPLY_BYTES = 64 * 2**20

Reason = Literal["timeout", "died", "too_large"]


class SandboxError(Exception):
    """The child did not answer; `reason` says why. The next call gets a new child."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Child:
    """A process of our own that answers one call at a time; started when first called.

    deadline_seconds: for each call, after the child is up. memory_bytes: its address space.
    """

    def __init__(
        self,
        module: str,
        *,
        deadline_seconds: float,
        memory_bytes: int | None,
        max_reply_bytes: int = MAX_REPLY_BYTES,
    ) -> None:
        self._module = module
        self._deadline_seconds = deadline_seconds
        self._memory_bytes = memory_bytes
        self._max_reply_bytes = max_reply_bytes
        self._lock = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=module)
        self._process: subprocess.Popen[bytes] | None = None

    async def call(self, payload: bytes) -> bytes:
        """The child's reply. Raises `SandboxError`; then, and when cancelled, the child is killed."""
        async with self._lock:
            is_answered = False
            try:
                process = self._process or await self._start()
                reply = await self._within(self._deadline_seconds, self._exchange, process, payload)
                is_answered = True
                return reply
            finally:
                if not is_answered:
                    self._kill()

    def close(self) -> None:
        """Kills the child, if there is one, and returns when it is gone."""
        self._kill()
        self._thread.shutdown()

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    async def _start(self) -> subprocess.Popen[bytes]:
        # Not in the helper thread: the kernel's death signal follows the thread that forked.
        self._process = process = _spawn(self._module, self._memory_bytes or 0)
        await self._within(START_SECONDS, _read_frame, process.stdout, len(_READY))
        return process

    async def _within(
        self, seconds: float, function: Callable[..., bytes], *arguments: object
    ) -> bytes:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(seconds):
                return await loop.run_in_executor(self._thread, function, *arguments)
        except TimeoutError:
            raise SandboxError("timeout", f"no answer within {seconds} s") from None
        except (EOFError, OSError):
            raise SandboxError("died", "the process died") from None

    def _exchange(self, process: subprocess.Popen[bytes], payload: bytes) -> bytes:
        assert process.stdin is not None
        _write_frame(process.stdin, payload)
        return _read_frame(process.stdout, self._max_reply_bytes)

    def _kill(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        # In the helper thread, which may hold the pipes' locks until it has seen their end.
        for pipe in (process.stdin, process.stdout):
            self._thread.submit(_close, pipe)


def _spawn(module: str, memory_bytes: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - a module of ours
        [sys.executable, "-m", module, str(memory_bytes)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def _close(pipe: IO[bytes] | None) -> None:
    with contextlib.suppress(OSError):  # what was not sent yet has nobody to go to
        if pipe is not None:
            pipe.close()


def serve(
    handler: Callable[[bytes], bytes],
    memory_bytes: int | None = None,
    cpu_seconds: float | None = None,
) -> None:
    """Answers frames until stdin ends. To be called last, by the module that a `Child` names.

    memory_bytes: address space, by default what the parent asked for. cpu_seconds: for each call.
    A handler that raises ends the process, so it should answer its errors itself.
    """
    die_with_parent()
    frames_in, frames_out = _take_stdio()
    _limit_memory(memory_bytes or int(next(iter(sys.argv[1:]), "0")))
    _write_frame(frames_out, _READY)
    while True:
        try:
            payload = _read_frame(frames_in, None)
        except EOFError:
            return
        _limit_cpu(cpu_seconds)
        _write_frame(frames_out, handler(payload))


def _take_stdio() -> tuple[IO[bytes], IO[bytes]]:
    """Our ends of the pipes; whatever prints to stdout afterwards goes to stderr."""
    frames_in, frames_out = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return frames_in, frames_out


def _limit_memory(memory_bytes: int) -> None:
    if memory_bytes:
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))


def _limit_cpu(cpu_seconds: float | None) -> None:
    if cpu_seconds is not None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        until = math.ceil(used.ru_utime + used.ru_stime + cpu_seconds)
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (until, hard))


def _write_frame(pipe: IO[bytes], body: bytes) -> None:
    pipe.write(_LENGTH.pack(len(body)))
    pipe.write(body)
    pipe.flush()


def _read_frame(pipe: IO[bytes] | None, limit: int | None) -> bytes:
    assert pipe is not None
    (length,) = _LENGTH.unpack(_read_exactly(pipe, _LENGTH.size))
    if limit is not None and length > limit:
        raise SandboxError("too_large", f"a reply of {length} bytes, limit {limit}")
    return _read_exactly(pipe, length)


def _read_exactly(pipe: IO[bytes], size: int) -> bytes:
    data = pipe.read(size)
    if len(data) < size:
        raise EOFError
    return data
