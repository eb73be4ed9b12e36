"""Where what must outlive a request is kept."""

from msgspec import Struct

from gateway.units import Bytes, Duration


class StoreSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is kept of the Responses API.

    path: a file, or "memory" to forget all with the process. keep: how long after its last use.
    max_bytes: of all of them; the longest unused goes first.
    """

    path: str = "memory"
    keep: Duration = Duration(30 * 24 * 3600)
    max_bytes: Bytes = Bytes(256 * 2**20)
