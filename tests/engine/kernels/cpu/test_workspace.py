"""What native operations do where there is no memory to work in."""

import os
import subprocess
import sys

import pytest

from tests.engine.tiled_weights import needs_library

pytestmark = needs_library

CHILD = """
import resource
import torch
from engine.core.failures import failure_of
from engine.kernels.cpu.calls import Threads, run
from tests.engine.batches import layout_of

def attend(size):
    layout = layout_of([70], [70], torch.arange(5).view(1, 5), 16)
    cache, q = torch.ones(5, 16, 1, size), torch.ones(70, 1, size)
    out = torch.zeros(70, 1, size)
    settings = (1, 0, 0, 1, 1, size, size)
    yield
    run(threads, "paged_attention", (q, cache, cache, None, None), out, settings, layout)
    yield out

threads = Threads(2)
wide, narrow = attend(60000), attend(64)
next(wide), next(narrow)
pages = int(open("/proc/self/statm").read().split()[0])
_, hard = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2**22, hard))
try:
    next(wide)
except MemoryError as error:
    print(failure_of(error).code)
resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
print(next(narrow).mean().item())
"""


@pytest.mark.skipif(
    "asan" in os.environ.get("LD_PRELOAD", ""), reason="the sanitizer itself ends where memory does"
)
def test_an_allocation_that_fails_is_the_call_s_error():
    """On whatever thread: the process lives, and what needs less runs afterwards."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD], capture_output=True, text=True, timeout=60, check=False
    )

    assert done.stdout.split() == ["out_of_memory", "1.0"], done.stderr
