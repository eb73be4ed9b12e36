from collections.abc import Iterable

from engine.api import Device
from gateway.pool.place import Place


class Ledger:
    """Bytes of each device, held by handle from before a load starts until they are surely free.

    What lies on several devices holds as many bytes on each.
    """

    def __init__(self, devices: Iterable[Device]) -> None:
        self._budgets = {device.name: device.memory_bytes for device in devices}
        self._held: dict[str, dict[int, int]] = {name: {} for name in self._budgets}

    def budget(self, device: str) -> int:
        return self._budgets[device]

    def free(self, device: str) -> int:
        """Negative only where a load took more than was planned for it."""
        return self._budgets[device] - self.held(device)

    def held(self, device: str) -> int:
        return sum(self._held[device].values())

    def hold(self, place: Place, handle: int, num_bytes: int) -> None:
        """Takes bytes. That they are free is the caller's to know: no decision over-commits."""
        for device in place:
            assert handle not in self._held[device], f"handle {handle} holds bytes already"
            assert num_bytes <= self.free(device), f"{num_bytes} bytes, {self.free(device)} free"
        for device in place:
            self._held[device][handle] = num_bytes

    def correct(self, place: Place, handle: int, num_bytes: int) -> None:
        """What was planned took so much in truth."""
        for device in place:
            assert handle in self._held[device], f"handle {handle} holds no bytes"
            self._held[device][handle] = num_bytes

    def drop(self, place: Place, handle: int) -> None:
        for device in place:
            del self._held[device][handle]
