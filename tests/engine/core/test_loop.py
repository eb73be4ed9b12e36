"""The step thread: work in, outputs out, signs of life, and its end."""

import queue
import threading

import pytest

from engine.api import DeviceStats, Sampling
from engine.core.loop import StepLoop
from engine.core.work import Add, Begin, Drop
from engine.wire import Start


class Replies:
    """What the loop said, across threads."""

    def __init__(self) -> None:
        self.queue: queue.Queue = queue.Queue()
        self.threads: set[str] = set()

    def outputs(self, owner, outputs):
        self.threads.add(threading.current_thread().name)
        for output in outputs:
            self.queue.put(output)

    def dropped(self, handle, _):
        self.queue.put(handle)

    def paused(self, handle, caches):
        self.queue.put((handle, caches))

    def next(self):
        return self.queue.get(timeout=20)


@pytest.fixture
def replies() -> Replies:
    return Replies()


@pytest.fixture
def ticks() -> queue.Queue:
    return queue.Queue()


@pytest.fixture
def loop(replies, ticks):
    loop = StepLoop(replies, ticks.put, on_crash=lambda: replies.queue.put("crashed"))
    loop.start()
    yield loop
    loop.stop()


def start(number: int, max_tokens: int = 3) -> Begin:
    return Begin("a", Start(number, 1, [3], max_tokens, 0, [], Sampling(temperature=0)))


def test_sequences_run_to_their_end(loop, replies, resident):
    """Work from another thread is picked up and answered from the loop's own."""
    loop.put(Add(1, resident))
    loop.put(start(0))

    assert [replies.next().token_ids for _ in range(3)] == [[4], [5], [6]]
    assert replies.threads == {"steps"}


def test_work_that_comes_while_it_sleeps_wakes_it(loop, replies, resident):
    """An idle loop is not a deaf one."""
    loop.put(Add(1, resident))
    for number in range(2):
        loop.put(start(number, max_tokens=1))
        assert replies.next().sequence == number
    loop.put(Drop(1))

    assert replies.next() == 1


def test_it_ticks_while_idle(loop, ticks):
    """Silence would look like a hang."""
    assert ticks.get(timeout=20) == DeviceStats()
    assert ticks.get(timeout=20) == DeviceStats()


def test_a_failing_model_does_not_end_the_loop(loop, replies, resident, counting):
    """What a step raises is told to its sequences."""
    counting.trap[3] = ZeroDivisionError("x")
    loop.put(Add(1, resident))
    loop.put(start(0))
    assert replies.next().failure.code == "internal"
    counting.trap.clear()
    loop.put(start(1, max_tokens=1))

    assert replies.next().token_ids == [4]


def test_a_bug_in_the_loop_is_announced(loop, replies, resident):
    """A loop that cannot go on says so, so that its process can be replaced."""
    resident.scheduler.schedule = None  # what no request can bring about
    loop.put(Add(1, resident))
    loop.put(start(0))

    assert replies.next() == "crashed"
