"""All the models there are: of the models folder, and then of each store in turn."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from gateway.catalog.scan import Found, find_checkpoints
from gateway.catalog.stores import huggingface, llamacpp, lmstudio, ollama
from gateway.catalog.stores.places import Store
from gateway.config.discovery import StoreName

_FINDERS: Mapping[StoreName, Callable[[Path], list[Found]]] = {
    "huggingface": huggingface.find,
    "llamacpp": llamacpp.find,
    "ollama": ollama.find,
    "lmstudio": lmstudio.find,
}


def find_models(root: Path, stores: Iterable[Store]) -> list[Found]:
    """Those of the models folder `root` first; in this order, who comes first has a name.

    A file that is linked in from another place is one model, the first place's.
    """
    found = find_checkpoints(root)
    places = {model.path.resolve() for model in found}
    for store in stores:
        for model in _FINDERS[store.name](store.folder):
            place = model.path.resolve()
            if place not in places:
                places.add(place)
                found.append(model)
    return found
