"""Who may ask for what."""

from pathlib import Path
from typing import Literal, get_args

from msgspec import Struct

Scope = Literal["infer", "manage", "admin"]
"""A right; none contains another. infer: to use models. manage: to say which are in memory and on the
disk, and to see how the server does. admin: to see whose keys there are and what they used."""

SCOPES: frozenset[Scope] = frozenset(get_args(Scope))


class KeysSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may ask for what.

    anonymous: scopes of requests without a key; None is all of them where only this machine can ask,
    and none elsewhere. path: the database of `roundhouse key`; "auto" is the user's data folder, "off"
    is none. file: further keys, as TOML or JSON, read again when it changes. open_metrics: `/metrics`
    needs no key. metrics_by_key: refusals are counted by the keys' names too.
    """

    anonymous: list[Scope] | None = None
    path: str = "auto"
    file: Path | None = None
    open_metrics: bool = False
    metrics_by_key: bool = False
