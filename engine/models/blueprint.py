"""A checkpoint understood: its family, its config, the model without weights, and where those are."""

from dataclasses import dataclass

from engine.checkpoint import Checkpoint, CheckpointError
from engine.models.binding import Binding, bind
from engine.models.config_reader import read_config
from engine.models.family import Family
from engine.models.meta import BaseConfig
from engine.models.registry import family_of
from engine.nn.model import Model


@dataclass(frozen=True, slots=True)
class Blueprint:
    family: Family
    config: BaseConfig
    model: Model
    bindings: list[Binding]


def blueprint(checkpoint: Checkpoint) -> Blueprint:
    """From headers alone; nothing large is allocated. Raises `CheckpointError`."""
    family = family_of(checkpoint)
    config = read_config(checkpoint, family.config)
    try:
        model = family.model(config)
    except ValueError as error:  # settings that are right one by one, and not together
        raise CheckpointError(f"{checkpoint.path.name}: config: {error}") from error
    return Blueprint(family, config, model, bind(checkpoint, family, config, model))
