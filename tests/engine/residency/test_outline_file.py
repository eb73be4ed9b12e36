from dataclasses import replace

import msgspec
import pytest
import torch

from engine.checkpoint import open_checkpoint
from engine.kernels.trace import Call
from engine.residency.outline import Outline, outline_of
from engine.residency.outline_file import decoded, encoded
from tests.engine.models.test_families import VARIANTS
from tests.engine.residency.images import QUANTISED, needs_native

pytestmark = needs_native

MODELS = {variant.path.parent: variant for variant in VARIANTS}
"""Each in one of its formats: both make the same outline, but for what it was read from."""


def outlined(path) -> Outline:
    with open_checkpoint(path) as checkpoint:
        return outline_of(checkpoint, torch.bfloat16)


@pytest.mark.parametrize("variant", MODELS.values(), ids=str)
def test_every_outline_comes_back_as_it_was(variant):
    """Family, config, plan and tape of every family."""
    outline = outlined(variant.path)
    content = encoded(outline)

    assert content is not None
    assert decoded(content) == outline


def test_what_would_not_come_back_is_not_kept():
    """A setting of no known type: its op would be given something else."""
    outline = outlined(QUANTISED)
    outline.tape.calls.append(Call("new", {}, None, (), {"setting": object()}))
    assert encoded(outline) is None
    outline.tape.calls[-1] = Call("new", {}, None, (), {"setting": (1, 2)})

    assert decoded(encoded(outline)) == outline


@pytest.mark.parametrize("family", ["os", "engine.models.nothing", "engine.models.meta"])
def test_only_families_are_imported(family):
    """What is no module of theirs is not even looked for."""
    record = msgspec.msgpack.decode(encoded(outlined(QUANTISED)))
    record["family"] = family

    with pytest.raises(LookupError):
        decoded(msgspec.msgpack.encode(record))


def test_unknown_fields_are_refused():
    """They are another version's."""
    record = msgspec.msgpack.decode(encoded(outlined(QUANTISED)))

    with pytest.raises(ValueError, match="unknown field"):
        decoded(msgspec.msgpack.encode(record | {"more": 1}))


def test_a_family_that_no_module_declares_is_not_kept():
    """It could not be found again."""
    outline = outlined(QUANTISED)

    assert encoded(replace(outline, family=replace(outline.family, name="made"))) is None
