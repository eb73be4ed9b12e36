"""How the server proves who it is."""

from pathlib import Path

from msgspec import Struct


class TlsSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """HTTPS instead of HTTP, from TLS 1.2 on.

    certificate: the chain, as PEM, the server's own first. key: its private key, as PEM, without a
    password. Both are read again when they change; connections that are open stay as they are.
    """

    certificate: Path
    key: Path
