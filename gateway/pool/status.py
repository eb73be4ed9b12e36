from typing import Literal

from msgspec import Struct

from gateway.pool.state import Model, Phase

ModelState = Literal["unloaded", "loading", "loaded", "draining", "unloading"]

STATES: dict[Phase, ModelState] = {
    Phase.LOADING: "loading",
    Phase.CANCELLING: "unloading",
    Phase.READY: "loaded",
    Phase.DRAINING: "draining",
    Phase.EVICTING: "unloading",
}


class ModelStatus(Struct, frozen=True):
    """Where a model stands. `fraction`: how much of a load is done, 0 to 1.

    handle, device, bytes, kv_tokens: of its residence; None and 0 while it has none.
    idle_seconds: since a request last began or ended; None if it is not resident.
    """

    key: str
    state: ModelState = "unloaded"
    fraction: float = 0.0
    handle: int | None = None
    device: str | None = None
    bytes: int = 0
    kv_tokens: int = 0
    leases: int = 0
    waiting: int = 0
    idle_seconds: float | None = None


def status_of(model: Model, fraction: float, now: float) -> ModelStatus:
    resident = model.resident
    if resident is None:
        return ModelStatus(model.key, waiting=len(model.waiters))
    return ModelStatus(
        model.key,
        state=STATES[resident.phase],
        fraction=fraction if resident.phase is Phase.LOADING else 1.0,
        handle=resident.handle,
        device=resident.device,
        bytes=resident.placement.bytes,
        kv_tokens=resident.placement.kv_tokens,
        leases=len(resident.leases),
        waiting=len(model.waiters),
        idle_seconds=None if resident.leases else max(0.0, now - resident.last_used),
    )
