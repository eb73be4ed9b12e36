from typing import Any

from engine.api import Device
from gateway.pool.actions import Action, Grant, Load
from gateway.pool.groups import Group
from gateway.pool.limits import PoolLimits
from gateway.pool.policy import Policy
from tests.gateway.fakes import make_card

BUDGET = 100
PAUSING = PoolLimits(max_wait_seconds=2.0, drain_seconds=1.0)


class Desk:
    """A policy on one device of 100 bytes, and a short way of asking it. Pauses only if told to."""

    def __init__(
        self,
        limits: PoolLimits | None = None,
        *sizes_of_devices: int,
        groups: tuple[Group, ...] = (),
    ) -> None:
        sizes = sizes_of_devices or (BUDGET,)
        devices = [Device(f"cpu{place}", size) for place, size in enumerate(sizes)]
        self.policy = Policy(devices, limits or PoolLimits(pausing=False), groups)

    def ask(
        self, request: int, key: str, num_bytes: int = 60, now: float = 0.0, **wishes: Any
    ) -> list[Action]:
        card = make_card(key, weights_bytes=num_bytes)
        return self.policy.requested(request, key, card, now, **wishes)

    def serve(
        self, request: int, key: str, num_bytes: int = 60, now: float = 0.0, **wishes: Any
    ) -> int:
        """Loads a model into free room and grants it to `request`; gives its handle."""
        (load,) = self.ask(request, key, num_bytes, now, **wishes)
        assert isinstance(load, Load)
        (grant,) = self.policy.loaded(load.handle, now)
        assert isinstance(grant, Grant)
        return load.handle
