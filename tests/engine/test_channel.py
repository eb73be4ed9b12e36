"""Frames arrive whole, typed and in order, or not at all; on asyncio's loop and on uvloop's."""

import asyncio
import random
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import uvloop

from engine.api import Delta
from engine.channel import MAX_WAITING_FRAMES, Channel, FrameError, Frames
from engine.wire import Deltas, Output, Step, TextEvent, TextReady

Run = Callable[[Any], Any]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request) -> Iterator[Run]:
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner.run


def step(number: int, num_tokens: int = 1) -> Step:
    return Step([Output(number, [7] * num_tokens, [], [])])


def framed(message: msgspec.Struct) -> bytes:
    body = msgspec.msgpack.encode(message)
    return len(body).to_bytes(4, "little") + body


@asynccontextmanager
async def facing(incoming: Any = Step) -> AsyncIterator[tuple[Channel[Any], socket.socket]]:
    """A channel, and the bare far end of its socket."""
    ours, theirs = socket.socketpair()
    channel = await Channel.over(ours, incoming)
    with theirs:
        yield channel, theirs
    channel.close()


def read_steps(far: socket.socket, count: int) -> list[int]:
    """The sequences of so many steps of one output each, as a peer in another process reads them."""
    frames, numbers = Frames(), []
    while len(numbers) < count:
        steps = [msgspec.msgpack.decode(b, type=Step) for b in frames.feed(far.recv(2**16))]
        numbers += [each.outputs[0].sequence for each in steps]
    return numbers


@pytest.mark.parametrize("cut", range(1, 12))
def test_frames_may_be_cut_anywhere(cut):
    """However a stream is cut into pieces, the same bodies come of it."""
    bodies = [b"", b"a", b"bc" * 9, b"", b"d" * 300]
    stream = b"".join(len(body).to_bytes(4, "little") + body for body in bodies)
    frames = Frames()

    found = []
    for start in range(0, len(stream), cut):
        found += [bytes(body) for body in frames.feed(stream[start : start + cut])]

    assert found == bodies


def test_frames_survive_random_cuts():
    """Also several frames and a piece of the next at once."""
    choose = random.Random(5)
    bodies = [choose.randbytes(choose.choice((0, 3, 50, 5000))) for _ in range(200)]
    stream = b"".join(len(body).to_bytes(4, "little") + body for body in bodies)
    frames = Frames()

    found = []
    while stream:
        size = choose.randrange(1, 4000)
        found += [bytes(body) for body in frames.feed(stream[:size])]
        stream = stream[size:]

    assert found == bodies


def test_a_frame_round_trips(run):
    """What is sent is what is received, and then the end."""

    async def talk() -> None:
        ours, theirs = socket.socketpair()
        sender = await Channel.over(ours, TextEvent)
        receiver = await Channel.over(theirs, TextEvent)
        sent = Deltas([(1, Delta(0, "é", token_ids=[3], finish_reason="stop"))])
        sender.send(sent)
        sender.close()

        assert await receiver.receive() == sent
        assert await receiver.receive() is None

    run(talk())


def test_a_frame_cut_short_is_the_end(run):
    """A peer that dies inside a frame looks like one that left."""

    async def talk() -> None:
        async with facing() as (channel, far):
            far.sendall(framed(step(1)) + b"\x10\x00\x00\x00\x81")
            far.close()

            assert await channel.receive() == step(1)
            assert await channel.receive() is None

    run(talk())


def test_a_length_past_the_limit_is_refused(run):
    """A length is checked before anything is read or allocated; the peer is left."""

    async def talk() -> None:
        async with facing() as (channel, far):
            far.sendall(b"\xff\xff\xff\xff")

            with pytest.raises(FrameError, match="limit"):
                await channel.receive()
            assert await asyncio.to_thread(far.recv, 1) == b""

    run(talk())


@pytest.mark.parametrize("body", [msgspec.msgpack.encode(TextReady()), b"\xc1"])
def test_a_frame_of_another_type_is_refused(run, body):
    """Only the frames of this direction are understood; those before it have arrived."""

    async def talk() -> list[Step]:
        taken: list[Step] = []
        async with facing() as (channel, far):
            far.sendall(framed(step(1)) + len(body).to_bytes(4, "little") + body)
            with pytest.raises(FrameError):
                await channel.each(taken.append)
        return taken

    assert run(talk()) == [step(1)]


def test_each_takes_what_waited_and_what_comes(run):
    """In order, with nothing lost between the two; the end of the stream ends it."""

    async def talk() -> list[Step]:
        taken: list[Step] = []
        async with facing() as (channel, far):
            far.sendall(b"".join(framed(step(i)) for i in range(3)))
            assert await channel.receive() == step(0)
            taking = asyncio.create_task(channel.each(taken.append))
            far.sendall(b"".join(framed(step(i)) for i in range(3, 6)))
            far.close()
            await taking
        return taken

    assert run(talk()) == [step(number) for number in range(1, 6)]


def test_what_a_taker_raises_ends_the_reading(run):
    """A bug in who takes the frames is raised where they are asked for."""

    def fail(_: Step) -> None:
        raise LookupError("a bug")

    async def talk() -> None:
        async with facing() as (channel, far):
            far.sendall(framed(step(1)))
            with pytest.raises(LookupError):
                await channel.each(fail)

    run(talk())


def test_frames_that_nobody_receives_hold_the_peer_back(run):
    """A few wait; the rest stay with the sender, and all arrive once they are received."""
    count = 40 * MAX_WAITING_FRAMES

    async def talk() -> list[int]:
        async with facing() as (channel, far):
            far.setblocking(False)
            big, sent = framed(step(1, num_tokens=2000)), 0
            stream = memoryview(big * count)
            try:
                while sent < len(stream):
                    sent += far.send(stream[sent:])
                    await asyncio.sleep(0)
            except BlockingIOError:
                pass
            assert sent < len(stream)
            far.setblocking(True)
            rest = asyncio.create_task(asyncio.to_thread(far.sendall, stream[sent:]))
            received = [await channel.receive() for _ in range(count)]
            await rest
        return [frame.outputs[0].sequence for frame in received]

    assert run(talk()) == [1] * count


def test_a_posted_frame_needs_no_loop(run):
    """What another thread posts is with the peer although the loop does nothing."""

    async def talk() -> list[int]:
        async with facing() as (channel, far):
            thread = threading.Thread(target=channel.post, args=[step(4)])
            thread.start()
            thread.join()
            return read_steps(far, 1)

    assert run(talk()) == [4]


def test_posts_to_a_slow_reader_stay_whole_and_in_order(run):
    """A full socket cuts frames anywhere; the loop brings the rest, and nothing overtakes it."""
    count = 400

    def post_all(channel: Channel[Any], is_full: threading.Event) -> None:
        for number in range(count):
            channel.post(step(number, num_tokens=3000))
            if number == count // 2:
                is_full.set()

    async def talk() -> list[int]:
        async with facing() as (channel, far):
            is_full = threading.Event()
            posting = asyncio.create_task(asyncio.to_thread(post_all, channel, is_full))
            await asyncio.to_thread(is_full.wait)
            numbers = await asyncio.to_thread(read_steps, far, count)
            await posting
            channel.post(step(count))
            return [*numbers, *await asyncio.to_thread(read_steps, far, 1)]

    assert run(talk()) == list(range(count + 1))


def test_posts_to_a_peer_that_vanished_are_lost(run):
    """They raise nothing, before the loop knows of it and after."""

    async def talk() -> None:
        async with facing() as (channel, far):
            far.close()
            await asyncio.to_thread(channel.post, step(1))
            assert await channel.receive() is None
            channel.close()
            await asyncio.sleep(0)
            await asyncio.to_thread(channel.post, step(2))
            channel.send(step(3))

    run(talk())
