"""`python -m engine.families`: what the registry knows, as Markdown or, with --json, as JSON.

`docs/models.md` is this Markdown, and a test holds it to that. The gateway never imports torch, so
`roundhouse families` runs this module as a process of its own.
"""

import json
import sys
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any, get_args, get_type_hints

import msgspec

from engine.models.config_keys import NEUTRAL_HF
from engine.models.family import Family
from engine.models.registry import families
from engine.nn.rope_scaling import RopeParameters
from engine.quant.formats import FORMATS, SCALED_FORMATS
from engine.quant.methods import METHODS

_HEAD = """# Models

Generated from the registry by `roundhouse families --markdown`; without that option it is shorter.

A checkpoint is a folder of Hugging Face's (`config.json` and safetensors) or a GGUF file. Its family
is the first below that knows its architecture or model type. Vision-language wrappers run their text
model. An architecture that is not listed is refused by name, and so is a key of a config that would
change the computation and that the family does not honour.
"""


class Described(msgspec.Struct, frozen=True):
    """A family in words. honours: which of the keys that others refuse it takes into account."""

    name: str
    description: str
    architectures: tuple[str, ...]
    model_types: tuple[str, ...]
    gguf_architectures: tuple[str, ...]
    honours: tuple[str, ...]


def described(family: Family) -> Described:
    return Described(
        family.name,
        _first_paragraph(_module_of(family).__doc__ or ""),
        family.architectures,
        family.model_types,
        family.gguf_architectures,
        tuple(key for key in sorted(NEUTRAL_HF) if key in family.config.__struct_fields__),
    )


def rope_types() -> tuple[str, ...]:
    return get_args(get_type_hints(RopeParameters)["rope_type"])


def formats() -> dict[str, tuple[str, ...]]:
    """Names of weight formats, by where scales are, if there are any."""
    return {"inside rows": tuple(FORMATS), "in tensors of their own": tuple(SCALED_FORMATS)}


def to_json() -> dict[str, Any]:
    return {
        "families": [msgspec.to_builtins(described(family)) for family in families()],
        "formats": [name for names in formats().values() for name in names],
        "rope_types": list(rope_types()),
    }


def to_markdown() -> str:
    known = [described(family) for family in families()]
    return "\n".join([_HEAD, *_families(known), "", *_formats(), "", *_limits(known), ""])


def _families(known: Iterable[Described]) -> Iterator[str]:
    yield "## Families\n"
    yield "| family | architectures | model types | GGUF | what it is |"
    yield "| --- | --- | --- | --- | --- |"
    for each in known:
        words = (each.architectures, each.model_types, each.gguf_architectures)
        yield f"| {each.name} | {' | '.join(map(_code, words))} | {each.description} |"


def _formats() -> Iterator[str]:
    yield "## Weight formats\n"
    yield "Kept as they are stored where that is smaller. Others are refused by name.\n"
    for place, names in formats().items():
        yield f"- Scales, if any, {place}: {_code(names)}"
    yield "\nWhat `quantization_config` of safetensors may say.\n"
    yield "| quant_method | what of it |"
    yield "| --- | --- |"
    yield from (f"| `{name}` | {method.accepts} |" for name, method in METHODS.items())
    yield "\nWhere inputs belong to groups in no order (`desc_act`), or to groups whose size 32 does not"
    yield "divide, weights are decoded as they are loaded, which a warning says: they then take what"
    yield "BF16 takes."


def _limits(known: list[Described]) -> Iterator[str]:
    yield "## Limits\n"
    yield f"Rope types: {_code(rope_types())}. Others are refused.\n"
    yield "Keys that change the computation, and the families that honour them. Elsewhere they are"
    yield "refused unless null or at rest.\n"
    yield "| key | at rest | honoured by |"
    yield "| --- | --- | --- |"
    for key in sorted(NEUTRAL_HF):
        honoured = ", ".join(each.name for each in known if key in each.honours) or "none"
        at_rest = ", ".join(f"`{json.dumps(value)}`" for value in NEUTRAL_HF[key])
        yield f"| `{key}` | {at_rest} | {honoured} |"


def _code(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _module_of(family: Family) -> ModuleType:
    """The one that declares it; `build` may be another's."""
    modules = (each for name, each in sys.modules.items() if name.startswith("engine.models."))
    return next(each for each in modules if getattr(each, "FAMILY", None) is family)


def _first_paragraph(text: str) -> str:
    return " ".join(text.partition("\n\n")[0].split())


if __name__ == "__main__":
    parser = ArgumentParser(prog="python -m engine.families", allow_abbrev=False)
    parser.add_argument("--json", action="store_true", help="print JSON")
    sys.stdout.write(json.dumps(to_json()) if parser.parse_args().json else to_markdown())
