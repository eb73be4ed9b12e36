"""Responses that are kept for those who come back to them."""

from gateway.store.responses import ResponseStore
from gateway.store.schema import MEMORY, StoreError
from gateway.store.table import Kept

__all__ = ["MEMORY", "Kept", "ResponseStore", "StoreError"]
