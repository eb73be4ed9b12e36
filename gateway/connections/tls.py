"""A certificate that is read again when it changes."""

import ssl
from pathlib import Path
from typing import Any

import structlog

from gateway.config import SettingsError, TlsSettings

Stamp = tuple[int, ...]

log = structlog.get_logger()


class Certificate:
    """`context` is for the server to listen with; each handshake looks whether the files changed.

    So a renewal needs neither a restart nor a signal, and connections that are open go on as they were.
    Files that do not fit each other, as in the middle of a renewal, leave the former in force. Raises
    `SettingsError` for what cannot be used at the start.
    """

    def __init__(self, settings: TlsSettings) -> None:
        self._settings = settings
        self._trouble = ""
        self._stamp = self._look()
        self._inner = _context(settings)
        self.context = _context(settings)
        # called for every handshake, whether the client names a server or not
        self.context.sni_callback = self._choose

    def _choose(self, connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        del name
        try:
            if (stamp := self._look()) != self._stamp:
                self._inner, self._stamp, self._trouble = _context(self._settings), stamp, ""
                log.info("certificate_read", file=str(self._settings.certificate))
        except SettingsError as error:
            if str(error) != self._trouble:
                log.warning("certificate_not_read", reason=str(error))
            self._trouble = str(error)
        connection.context = self._inner

    def _look(self) -> Stamp:
        try:
            return (*_stamp(self._settings.certificate), *_stamp(self._settings.key))
        except OSError as error:
            raise SettingsError(f"[tls]: {error.filename}: {error.strerror}") from None


def _stamp(path: Path) -> Stamp:
    found = path.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size


def _context(settings: TlsSettings) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        # without a password OpenSSL would ask for one on the terminal
        context.load_cert_chain(settings.certificate, settings.key, password=_no_password)
    except (OSError, ValueError) as error:
        raise SettingsError(f"[tls]: {settings.certificate}, {settings.key}: {error}") from None
    return context


def _no_password() -> Any:
    raise ValueError("the private key has a password; it has to come without one")
