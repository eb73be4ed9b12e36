"""Frames arrive whole and typed, or not at all."""

import asyncio
import socket

import msgspec
import pytest

from engine.api import Delta
from engine.wire import Channel, Deltas, Step, TextEvent, TextReady


async def pair(incoming: type) -> tuple[Channel, socket.socket]:
    ours, theirs = socket.socketpair()
    return Channel(*await asyncio.open_unix_connection(sock=ours), incoming), theirs


async def test_a_frame_round_trips():
    """What is sent is what is received."""
    ours, theirs = socket.socketpair()
    sender = Channel(*await asyncio.open_unix_connection(sock=ours), TextEvent)
    receiver = Channel(*await asyncio.open_unix_connection(sock=theirs), TextEvent)
    sent = Deltas([(1, Delta(0, "é", [3], finish_reason="stop"))])
    sender.send(sent)
    sender.close()

    assert await receiver.receive() == sent
    assert await receiver.receive() is None
    receiver.close()


async def test_a_frame_cut_short_is_the_end():
    """A peer that dies inside a frame looks like one that left."""
    channel, far = await pair(TextEvent)
    far.sendall(b"\x10\x00\x00\x00\x81")
    far.close()

    assert await channel.receive() is None
    channel.close()


async def test_a_length_past_the_limit_is_refused():
    """A length is checked before anything is read or allocated."""
    channel, far = await pair(TextEvent)
    far.sendall(b"\xff\xff\xff\xff")

    with pytest.raises(ValueError, match="limit"):
        await channel.receive()
    far.close()
    channel.close()


async def test_a_frame_of_another_type_is_refused():
    """Only the frames of this direction are understood."""
    channel, far = await pair(Step)
    body = msgspec.msgpack.encode(TextReady())
    far.sendall(len(body).to_bytes(4, "little") + body)

    with pytest.raises(msgspec.ValidationError):
        await channel.receive()
    far.close()
    channel.close()
