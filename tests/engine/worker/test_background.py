"""Who gives way to whom in a worker."""

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from engine.worker.background import NICENESS, be_background


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere niceness is the process's")
def test_a_load_and_its_helpers_give_way():
    """The thread and those that it starts are nicer than before; the one that steps is not."""

    def load() -> tuple[int, int]:
        be_background()
        be_background()  # said twice it means no more
        with ThreadPoolExecutor(1) as helpers:
            return niceness(), helpers.submit(niceness).result()

    before = niceness()
    with ThreadPoolExecutor(1) as threads:
        nicer = min(before + NICENESS, 19)
        assert threads.submit(load).result() == (nicer, nicer)

    assert niceness() == before
