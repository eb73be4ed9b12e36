"""Where models come from, and who may have them brought."""

from msgspec import Struct


class HubSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The Hugging Face hub, or a mirror of it. The token is `HF_TOKEN`'s, never the file's.

    endpoint: of a mirror; None takes `HF_ENDPOINT`, else the hub. offline: it is never asked.
    allow: repositories that an HTTP request may have pulled or removed, as `org/*`; `roundhouse pull`
    and `rm` may any. pull_on_demand: a request that names an allowed model that is not here pulls it.
    """

    endpoint: str | None = None
    offline: bool = False
    allow: list[str] = []
    pull_on_demand: bool = False
