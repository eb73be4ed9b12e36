"""The pool: which models are resident on which device, and who may use them."""

from gateway.pool.errors import (
    LoadFailedError,
    ModelUnloaded,
    PinnedModelsInTheWay,
    PoolClosed,
    PoolError,
    QueueFull,
    TooLargeForDevice,
    WaitExceeded,
)
from gateway.pool.groups import Group
from gateway.pool.lease import Lease, PoolModel
from gateway.pool.limits import PoolLimits
from gateway.pool.observer import PoolObserver
from gateway.pool.place import Place, places_for
from gateway.pool.placement import Fit, Placement, TooLarge
from gateway.pool.plan import Plan, PlannedVictim
from gateway.pool.pool import Pool
from gateway.pool.status import ModelState, ModelStatus
from gateway.pool.terms import Terms

__all__ = [
    "Fit",
    "Group",
    "Lease",
    "LoadFailedError",
    "ModelState",
    "ModelStatus",
    "ModelUnloaded",
    "PinnedModelsInTheWay",
    "Place",
    "Placement",
    "Plan",
    "PlannedVictim",
    "Pool",
    "PoolClosed",
    "PoolError",
    "PoolLimits",
    "PoolModel",
    "PoolObserver",
    "QueueFull",
    "Terms",
    "TooLarge",
    "TooLargeForDevice",
    "WaitExceeded",
    "places_for",
]
