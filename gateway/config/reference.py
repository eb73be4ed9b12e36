"""The tables of docs/configuration.md, made of the structs themselves."""

import json
import re
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
from msgspec import Meta, Struct

from gateway.config.changes import LIVE, LIVE_KEYS
from gateway.config.fields import defaults_of, descriptions_of, entry_in, hints_of, table_in
from gateway.config.keys import KeysSettings
from gateway.config.kinds import plain
from gateway.config.schema import tables
from gateway.config.settings import Settings
from gateway.units import Bytes, DeviceBudget, Duration

_BLOCK = re.compile(
    r"(?P<begin><!-- settings: (?P<name>\S+) -->\n).*?(?P<end><!-- end -->)", re.DOTALL
)

_WORDS = {
    bool: "true or false",
    int: "whole number",
    float: "number",
    str: "text",
    Bytes: "size",
    Duration: "duration",
    DeviceBudget: "kind:size",
}
_BOUNDS = {"gt": "above {}", "ge": "from {}", "le": "up to {}", "min_length": "at least {}"}


def renewed(text: str) -> str:
    """The Markdown with each table between its marks made anew.

    A table stands between `<!-- settings: NAME -->` and `<!-- end -->`; NAME is a struct's. Raises
    `ValueError` for a name that no struct has, and for a struct that has no table.
    """
    known = {struct.__name__: struct for struct in tables()}
    fixed = {each.__name__ for each in _fixed()}
    if missing := known.keys() - {found["name"] for found in _BLOCK.finditer(text)}:
        raise ValueError(f"no <!-- settings: NAME --> for {', '.join(sorted(missing))}")

    def made(found: re.Match[str]) -> str:
        if found["name"] not in known:
            raise ValueError(f"there are no settings called {found['name']}")
        live = sorted(LIVE_KEYS) if known[found["name"]] is KeysSettings else []
        but = f" but those of {' and '.join(f'`{name}`' for name in live)}" if live else ""
        note = f"\nChanges of these{but} need a restart.\n" if found["name"] in fixed else ""
        return found["begin"] + table_of(known[found["name"]]) + note + found["end"]

    return _BLOCK.sub(made, text)


def table_of(struct: type[Struct]) -> str:
    """A row for each setting; tables within it have tables of their own, and so has what it inherits."""
    said, defaults = descriptions_of(struct), defaults_of(struct)
    inherited = getattr(struct.__base__, "__struct_fields__", ())
    rows = ["| setting | is | default | |\n", "| --- | --- | --- | --- |\n"]
    for name, hint in hints_of(struct).items():
        if table_in(hint) or entry_in(hint) or name in inherited:
            continue
        default = _written(defaults[name]) if name in defaults else "needed"
        words = [f"{said[name]}." if name in said else ""]
        words += ["Needs a restart."] if struct is Settings and name not in LIVE else []
        cells = [f"`{name}`", kind_of(hint), default, " ".join(filter(None, words))]
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n")
    if inherited:
        rows.append("| all of `[defaults]` | | | see below. |\n")
    return "".join(rows)


def _fixed() -> list[type[Struct]]:
    """Tables that a running server does not take over."""
    hints = {name: hint for name, hint in hints_of(Settings).items() if name not in LIVE}
    return [found for hint in hints.values() if (found := table_in(hint) or entry_in(hint))]


def kind_of(hint: Any) -> str:
    """A type in an operator's words."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return ", ".join([kind_of(inner[0]), *_bounds(inner[1:])])
    if origin is Literal:
        return ", ".join(f"`{each}`" for each in inner)
    if origin is list:
        return f"list of {kind_of(inner[0])}"
    if origin is dict:
        return f"table of {kind_of(inner[1])}"
    if inner:
        return " or ".join(kind_of(each) for each in inner if each is not type(None))
    return _WORDS.get(hint, "path")


def _bounds(constraints: tuple[Any, ...]) -> list[str]:
    return [
        words.format(getattr(meta, name))
        for meta in constraints
        if isinstance(meta, Meta)
        for name, words in _BOUNDS.items()
        if getattr(meta, name) is not None
    ]


def _written(value: Any) -> str:
    if value is None or value in ([], {}):
        return ""
    if isinstance(value, Bytes):
        return f"`{_in_units(value)}`"
    return f"`{json.dumps(msgspec.to_builtins(value, enc_hook=plain))}`"


def _in_units(num_bytes: int) -> str:
    for exponent, unit in ((3, "GiB"), (2, "MiB"), (1, "KiB")):
        if num_bytes and num_bytes % 1024**exponent == 0:
            return f"{num_bytes // 1024**exponent}{unit}"
    return str(num_bytes)
