"""Which family a checkpoint is of. Every module of this package that holds a FAMILY has one."""

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

import engine.models
from engine.checkpoint import Checkpoint, CheckpointError, GGUFCheckpoint, SafetensorsCheckpoint
from engine.models.config_reader import text_config
from engine.models.family import Family


@cache
def families() -> tuple[Family, ...]:
    """All of them, by name."""
    modules = [
        import_module(f"{engine.models.__name__}.{entry.name}")
        for entry in iter_modules(engine.models.__path__)
    ]
    found = [module.FAMILY for module in modules if hasattr(module, "FAMILY")]
    return tuple(sorted(found, key=lambda family: family.name))


def family_of(checkpoint: Checkpoint) -> Family:
    """Raises `CheckpointError` with the architecture and the known ones, where it is none of them."""
    if isinstance(checkpoint, GGUFCheckpoint):
        _refuse_companions(checkpoint)
        words = _gguf_words(checkpoint)
        named = words[-1:]
        known = _by(lambda family: family.gguf_architectures)
    elif isinstance(checkpoint, SafetensorsCheckpoint):
        words = named = _words(checkpoint)
        known = _by(lambda family: (*family.architectures, *family.model_types))
    else:
        raise TypeError(type(checkpoint).__name__)
    for word in words:
        if isinstance(word, str) and word in known:
            return known[word]
    name = next((str(word)[:80] for word in named if word), "none")
    what = f"architecture {name} is not supported, these are: {', '.join(sorted(known))}"
    raise CheckpointError(f"{checkpoint.path.name}: {what}")


def _refuse_companions(checkpoint: GGUFCheckpoint) -> None:
    """GGUF also holds what goes with a model: importance matrices, adapters, projectors."""
    kind = checkpoint.metadata.get("general.type", "model")
    if kind != "model":
        what = f"is no model but goes with one: its general.type is {str(kind)[:80]!r}"
        raise CheckpointError(f"{checkpoint.path.name}: {what}")


def _gguf_words(checkpoint: GGUFCheckpoint) -> list[object]:
    """The architecture; before it, for one name of two families, which of the two it is."""
    architecture = checkpoint.metadata.get("general.architecture")
    has_experts = checkpoint.metadata.get(f"{architecture}.expert_count")
    return [*([f"{architecture} with experts"] if has_experts else []), architecture]


def _words(checkpoint: SafetensorsCheckpoint) -> list[object]:
    """What a config.json calls its model: the whole, then the text model of a wrapper."""
    config = checkpoint.config
    architectures = config.get("architectures")
    named = architectures if isinstance(architectures, list) else []
    return [*named, config.get("model_type"), text_config(config).get("model_type")]


def _by(words: Callable[[Family], Iterable[str]]) -> Mapping[str, Family]:
    return {word: family for family in families() for word in words(family)}
