"""What stands between a client and words that cost nothing: nothing, our gateway, LiteLLM's proxy."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from cpu_time import process_seconds
from folders import HERE, ROOT
from litellm_proxy import litellm, program
from stub_reply import AT_ONCE, PACED

DIRECT = "no proxy"
INSIDE, BEHIND = "ours, engine inside", "ours, engine behind"
LITELLM = "LiteLLM"

_QUIET_SECONDS = 20.0
_POLL_SECONDS = 0.2
_QUIET_SHARE = 0.05


@dataclass(frozen=True)
class Side:
    """pid: of the process whose CPU time counts."""

    name: str
    url: str
    pid: int

    def cpu_seconds(self) -> float:
        return process_seconds(self.pid)

    def wait_until_quiet(self) -> None:
        """For what it still does of a load that it could not keep up with, within bounds."""
        deadline, before = time.monotonic() + _QUIET_SECONDS, self.cpu_seconds()
        while time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
            now = self.cpu_seconds()
            if now - before < _POLL_SECONDS * _QUIET_SHARE:
                return
            before = now


@contextmanager
def all_sides(*, has_litellm: bool) -> Iterator[list[Side]]:
    """Every side, running. The first is the one without a proxy."""
    if has_litellm:
        program()  # else it would be missed only once the others run
    with ExitStack() as stack:
        direct = Side(DIRECT, *stack.enter_context(_stub("stub_openai.py")))
        sides = [direct]
        for name, kind in ((INSIDE, "inside"), (BEHIND, "behind")):
            sides.append(Side(name, *stack.enter_context(_stub("stub_gateway.py", kind))))
        if has_litellm:
            proxy = stack.enter_context(litellm(direct.url, (AT_ONCE, PACED)))
            sides.append(Side(LITELLM, *proxy))
        yield sides


@contextmanager
def _stub(script: str, *arguments: str) -> Iterator[tuple[str, int]]:
    """URL and process id of a stub, which says on its first line where it listens."""
    command = [sys.executable, str(HERE / script), *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:  # fmt: skip
        try:
            assert process.stdout
            url = process.stdout.readline().strip()
            if not url:
                raise SystemExit(f"{script} did not start")
            yield url, process.pid
        finally:
            process.terminate()
