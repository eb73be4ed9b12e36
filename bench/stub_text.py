"""The gateway's neighbour with nothing behind it: a text process that makes up what a worker says.

`stub_gateway` starts it in `engine.text`'s place: python -m stub_text --control-fd N
"""

import itertools
from argparse import ArgumentParser
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from stub_reply import NUM_PROMPT, Steps, deltas

from engine.api import Delta, Prepared
from engine.channel import Channel
from engine.process import control_channel, live
from engine.wire import (
    Deltas,
    Discard,
    Generate,
    Prepare,
    PrepareDone,
    TextCommand,
    TextReady,
)


class StubText:
    """Sends the deltas of a step in one frame, as the real one does."""

    def __init__(self, channel: Channel[TextCommand]) -> None:
        self._channel = channel
        self._tickets = itertools.count(1)
        self._models: dict[int, str] = {}
        self._frame: list[tuple[int, Delta]] = []
        self._steps = Steps(self._send)

    async def run(self) -> None:
        self._channel.send(TextReady())
        await self._channel.each(self._obey)

    def _obey(self, command: TextCommand) -> None:
        match command:
            case Prepare(call, source):
                ticket = next(self._tickets)
                self._models[ticket] = Path(source.path).stem
                self._channel.send(PrepareDone(call, Prepared(ticket, [1] * NUM_PROMPT)))
            case Discard(tickets):
                for ticket in tickets:
                    del self._models[ticket]
            case Generate():
                for run in command.runs:
                    write = partial(self._add_next, command.stream, deltas(run))
                    self._steps.run(self._models[run.ticket], write)

    def _add_next(self, stream: int, source: Iterator[Delta]) -> bool:
        delta = next(source)
        self._frame.append((stream, delta))
        return delta.finish_reason is None

    def _send(self) -> None:
        self._channel.send(Deltas(self._frame))
        self._frame = []


async def serve(control_fd: int) -> None:
    await StubText(await control_channel(control_fd, TextCommand)).run()


if __name__ == "__main__":
    parser = ArgumentParser()
    parser.add_argument("--control-fd", type=int, required=True)
    live(serve(parser.parse_args().control_fd))
