"""What a request that leaves something open is answered with, of all that was said about it."""

from typing import Any

import msgspec

from gateway.config.models import Defaults, Preset


def laid_under(preset: Preset | None, model: str, *others: Defaults) -> Preset | None:
    """The preset, with what it leaves open from the first of the others that says it.

    None where nothing is said at all. model: of the preset that is made where there is none.
    """
    given = [each for each in (preset, *others) if each is not None]
    changes: dict[str, Any] = {
        name: next((v for each in given if (v := getattr(each, name)) is not None), None)
        for name in Defaults.__struct_fields__
    }
    kwargs = [each.template_kwargs for each in reversed(given)]
    changes["template_kwargs"] = {name: value for each in kwargs for name, value in each.items()}
    if preset is None and not any(value not in (None, {}) for value in changes.values()):
        return None
    return msgspec.structs.replace(preset or Preset(model=model), **changes)
