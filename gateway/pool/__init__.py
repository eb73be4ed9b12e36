"""The pool: which models are resident on which device, and who may use them."""

from gateway.pool.errors import (
    LoadFailedError,
    PoolClosed,
    PoolError,
    QueueFull,
    TooLargeForDevice,
    WaitExceeded,
)
from gateway.pool.limits import PoolLimits
from gateway.pool.placement import Fit, Placement, TooLarge
from gateway.pool.pool import Lease, Pool, PoolModel
from gateway.pool.status import ModelState, ModelStatus

__all__ = [
    "Fit",
    "Lease",
    "LoadFailedError",
    "ModelState",
    "ModelStatus",
    "Placement",
    "Pool",
    "PoolClosed",
    "PoolError",
    "PoolLimits",
    "PoolModel",
    "QueueFull",
    "TooLarge",
    "TooLargeForDevice",
    "WaitExceeded",
]
