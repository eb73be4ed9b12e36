"""A worker that holds no models: it says yes to everything.

`stub_gateway` starts it in `engine.worker`'s place, with its arguments: python -m stub_worker ...
"""

import asyncio
from argparse import ArgumentParser

from stub_engine import DEVICE, REPORT, card

from engine.api import DeviceStats
from engine.channel import Channel
from engine.process import control_channel, live
from engine.wire import Command, Evict, Evicted, Inspect, Inspected, Load, Loaded, Tick, WorkerReady

TICK_SECONDS = 0.5


async def serve(control_fd: int) -> None:
    channel: Channel[Command] = await control_channel(control_fd, Command)

    def obey(command: Command) -> None:
        match command:
            case Inspect(call, path):
                channel.send(Inspected(call, card(path)))
            case Load(order):
                channel.send(Loaded(order.handle, REPORT))
            case Evict(handle):
                channel.send(Evicted(handle))

    channel.send(WorkerReady(DEVICE.name, DEVICE.memory_bytes, "float32"))
    ticks = asyncio.create_task(_tick(channel))
    await channel.each(obey)
    ticks.cancel()


async def _tick(channel: Channel[Command]) -> None:
    while True:
        channel.send(Tick(DeviceStats()))
        await asyncio.sleep(TICK_SECONDS)


if __name__ == "__main__":
    parser = ArgumentParser()
    parser.add_argument("--control-fd", type=int, required=True)
    live(serve(parser.parse_known_args()[0].control_fd))
