"""Holds a reply's headers until its first bytes are there, so that errors keep their own status."""

import asyncio
from typing import Any

from litestar import Request
from litestar.types import Receive

from gateway.errors import ClientGone
from gateway.routes.pump import Pump


async def hold(pump: Pump, request: Request[Any, Any, Any], seconds: float) -> None:
    """Waits for the first piece, at most `seconds`.

    Raises the pump's error if it failed before any piece, and `ClientGone` if nobody waits for the
    reply any more; the pump is cancelled then.
    """
    gone = asyncio.create_task(_interrupt_when_gone(pump, request.receive))
    try:
        has_news = await pump.wait(seconds)
    except asyncio.CancelledError:
        pump.cancel()
        raise
    finally:
        is_gone = gone.done()
        gone.cancel()
    if is_gone and not has_news:
        pump.cancel()
        raise ClientGone("before its reply began")
    if pump.is_done and pump.error and not pump.has_pieces:
        raise pump.error


async def _interrupt_when_gone(pump: Pump, receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    pump.interrupt()
