"""Models that other programs have downloaded, found where those keep them and left as they are."""

from gateway.catalog.stores.finding import find_models
from gateway.catalog.stores.places import Store, stores_of

__all__ = ["Store", "find_models", "stores_of"]
