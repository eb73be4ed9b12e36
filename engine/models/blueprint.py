"""A checkpoint understood: its family, its config, the model without weights, and where those are."""

from dataclasses import dataclass, replace

from engine.checkpoint import Checkpoint, CheckpointError
from engine.models.binding import Binding, bind
from engine.models.config_reader import read_config
from engine.models.family import Family
from engine.models.meta import BaseConfig
from engine.models.registry import family_of
from engine.models.shards import Indivisible, Shard, cut
from engine.nn.model import Model


@dataclass(frozen=True, slots=True)
class Blueprint:
    """shard: the part of whose rank it is, where it is not the whole model's."""

    family: Family
    config: BaseConfig
    model: Model
    bindings: list[Binding]
    shard: Shard | None = None


def blueprint(checkpoint: Checkpoint, shard: Shard | None = None) -> Blueprint:
    """From headers alone; nothing large is allocated. Raises `CheckpointError`.

    shard: of the part of one of several ranks; its blocks know which of them need a `Group`.
    """
    family = family_of(checkpoint)
    config = read_config(checkpoint, family.config)
    try:
        model = family.model(config)
    except ValueError as error:  # settings that are right one by one, and not together
        raise CheckpointError(f"{checkpoint.path.name}: config: {error}") from error
    whole = Blueprint(family, config, model, bind(checkpoint, family, config, model))
    if shard is None or shard.size == 1:
        return whole
    try:
        return part_of(whole, shard)
    except Indivisible as error:
        what = f"cannot be spread over {shard.size} devices: {error}"
        raise CheckpointError(f"{checkpoint.path.name}: {what}") from error


def part_of(whole: Blueprint, shard: Shard) -> Blueprint:
    """What one of several ranks has of a model. Raises `Indivisible`."""
    config, model, bindings = cut(whole.family, whole.config, whole.bindings, shard)
    return replace(whole, config=config, model=model, bindings=bindings, shard=shard)
